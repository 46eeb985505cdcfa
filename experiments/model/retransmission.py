"""What a server that has something to send does with a half-open connection.

It sends again and again. Each time its client, which has gone, answers with a reset. That
goes where the tables lead: to the owner only if the bucket has come back.
"""

from __future__ import annotations

import numpy as np

from experiments.model.durations import Times
from experiments.model.moved import Moved
from experiments.model.step_functions import Index

#: Seconds from the first transmission to each further one: the timeout is 0.2 s at least,
#: is doubled each time, and is 120 s at most (TCP_RTO_MIN, TCP_RTO_MAX; RFC 6298, 5.5).
AGAIN_S = np.cumsum(np.minimum(0.2 * 2.0 ** np.arange(15), 120.0))


def freed_by_answer(
    moved: Moved, which: Index, era: Index, sent: Times, reset: Times
) -> Times:
    """When the answer to a retransmission frees the owners of those at ``which``; infinite
    if none does. ``era``: of the stray. ``sent``: the first transmission. ``reset``: when
    the client has gone; infinite if it has not."""
    routes = moved.routes
    freed = np.full(len(which), np.inf)
    pending, era = np.isfinite(reset).nonzero()[0], era.copy()
    while len(pending):
        some = which[pending]
        way = routes.way(moved.hashes, moved.index[some], era[pending])
        end = np.minimum(routes.begins(way.until), moved.horizon_s)
        from_s = np.maximum(routes.begins(np.maximum(era[pending], 1)), reset[pending])
        next_s = next_again(sent[pending], from_s)
        home = (way.node == moved.owner[some]) & (moved.loss[some] > era[pending])
        answered = home & (next_s < end)
        freed[pending[answered]] = next_s[answered]
        on = (
            ~answered & (end < moved.horizon_s) & (from_s < sent[pending] + AGAIN_S[-1])
        )
        era[pending] = way.until
        pending = pending[on]
    return freed


def next_again(sent: Times, after: Times) -> Times:
    """The first retransmission after each time; infinite if there is none.

    >>> next_again(np.array([10.0, 10.0]), np.array([10.3, 2000.0])).tolist()
    [10.6, inf]
    """
    place = np.searchsorted(AGAIN_S, after - sent, side="right")
    found: Times = sent + np.append(AGAIN_S, np.inf)[place]
    return found
