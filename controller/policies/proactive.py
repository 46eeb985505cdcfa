"""At the event itself, nodes reset the connections that have left them, idle or busy.

Nobody waits for a stray segment: each node knows the new tables as well as the switches
do, and finds in its own kernel's table what they now lead elsewhere. That is done once
they have settled, when no segment of such a connection can reach it any more. A stray
that was quicker is answered as for client-only: its client is reset by the node that it
reached, and the owner's end goes with all the others, so no copy is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.balancers import Balancer
from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import forecast
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

PROACTIVE = ResetPolicy(
    name="proactive",
    summary="at the event, each node resets both ends of what has left it, idle or not",
    guard_answers=True,
    promises=frozenset(
        (
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
            Promise.FREES_THE_SILENT,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
    resets_at_event=True,
)


def moved_away(
    plan: Plan,
    membership: Membership,
    balancer: Balancer,
    node: str,
    connections: Iterable[FourTuple],
) -> list[FourTuple]:
    """Those of a node's connections that the tables lead to another, or to none.

    Raises :class:`LookupError` for one whose source is no client's address.
    """
    owner_of = forecast(plan, membership, balancer).owner_of
    return [one for one in connections if owner_of(one) != node]
