"""Which owners were freed by a reset of their own client, that another node relayed: pure.

Healing (docs/healing.md) may be faster than the copies: with ``out-of-band`` on a busy machine
the owner asks its client by a keepalive before the controller has sent the owner's copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from experiments.analysis.observations import RST, Observation
from experiments.analysis.outcomes import Outcome
from topologies.domain.connection import FourTuple
from topologies.domain.plan import RELAY_MAC


def with_relayed(
    outcomes: Sequence[Outcome], observations: Iterable[Observation]
) -> list[Outcome]:
    """The outcomes, with ``relayed_ns`` set where the owner freed its socket after it."""
    arrived: dict[tuple[FourTuple, str], list[int]] = defaultdict(list)
    for segment in observations:
        is_relayed = segment.eth_src == RELAY_MAC and not segment.outgoing
        if is_relayed and segment.flags & RST and segment.connection is not None:
            arrived[segment.connection, segment.label].append(segment.time_ns)
    return [_with_relay(outcome, arrived) for outcome in outcomes]


def _with_relay(
    outcome: Outcome, arrived: dict[tuple[FourTuple, str], list[int]]
) -> Outcome:
    freed_ns = outcome.freed_ns
    if freed_ns is None or outcome.owner is None:
        return outcome
    times = arrived.get((outcome.connection, outcome.owner), ())
    before = [ns for ns in times if outcome.opened_ns <= ns <= freed_ns]
    return replace(outcome, relayed_ns=min(before)) if before else outcome
