"""``reseed``: one switch, or all of them, get another hash basis."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, require_reachable
from topologies.domain.plan import FABRIC

ALL = "all"


def change(state: Arrangement, target: str) -> Arrangement:
    """The members stay the same; connections move between them.

    ``all``: the fabric and every chassis that it reaches.
    """
    membership = state.membership
    if target == ALL:
        chassis = membership.reachable_chassis(state.plan)
        switches = [FABRIC, *(each.name for each in chassis)]
    else:
        if target != FABRIC:
            require_reachable(state, state.plan.find_chassis(target), target)
        switches = [target]
    for switch in switches:
        membership = membership.with_reseeded(switch)
    return replace(state, membership=membership)


EVENT = Event(
    kind="reseed",
    summary="a switch hashes with another basis; no member joins or leaves",
    target="fabric, a chassis, e.g. c2, or all",
    change=change,
    planned=True,
)
