"""At the event, nodes reset connections that now belong to another node, idle or busy.

No stray is needed. Each node knows the new tables, and finds the connections in its
kernel's socket table. It resets them when the switches have settled: no segment of such a
connection can reach it any more. A stray that arrives before is answered as for
client-only: its client is reset by the node that it reached. The owner's end is reset with
all the others, so no copy is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.balancers import Balancer
from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import AtEvent, OnStray
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import forecast
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

PROACTIVE = ResetPolicy(
    name="proactive",
    summary="at the event, nodes reset both ends of connections that moved, idle or not",
    on_stray=OnStray.RESET,
    at_event=AtEvent.NODES,
    promises=frozenset(
        (
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
            Promise.FREES_THE_SILENT,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
)


def moved_away(
    plan: Plan,
    membership: Membership,
    balancer: Balancer,
    node: str,
    connections: Iterable[FourTuple],
) -> list[FourTuple]:
    """A node's connections that the tables now give to another node, or to none.

    Raises :class:`LookupError` for a connection whose source is not a client's address.
    """
    owner_of = forecast(plan, membership, balancer).owner_of
    return [one for one in connections if owner_of(one) != node]
