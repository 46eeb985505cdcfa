"""``uplink-down``: the link between the fabric and a chassis goes down."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    MachineActions,
    require_reachable,
    require_service,
)


def change(state: Arrangement, target: str) -> Arrangement:
    """The fabric no longer balances over the chassis, and sends it no copies.

    Its nodes keep their connections: no copy of a reset reaches them.
    """
    chassis = state.plan.find_chassis(target)
    require_reachable(state, chassis, target)
    membership = state.membership.with_chassis_cut_off(chassis.name)
    return require_service(replace(state, membership=membership), target)


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Set the link down first; the fabric's table changes afterwards."""
    machines.set_uplink_down(old.plan.find_chassis(target))


EVENT = Event(
    kind="uplink-down",
    summary="a chassis is cut off from the fabric; its nodes keep power and TCP state",
    target="a chassis, e.g. c2",
    change=change,
    planned=False,
    apply_to_machines=apply_to_machines,
    loss=True,
)
