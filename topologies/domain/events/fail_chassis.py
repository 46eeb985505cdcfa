"""``fail-chassis``: a chassis switch and all its nodes fail together."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    EventError,
    MachineActions,
    require_service,
)


def change(state: Arrangement, target: str) -> Arrangement:
    """The fabric no longer balances over the chassis, and sends it no copies."""
    name = state.plan.find_chassis(target).name
    if name in state.membership.failed_chassis:
        raise EventError(f"{name} has failed already")
    membership = state.membership.with_chassis_failed(name)
    return require_service(replace(state, membership=membership), target)


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Power off first; the fabric's table changes afterwards."""
    chassis = old.plan.find_chassis(target)
    machines.power_off_chassis(chassis, old.membership.powered_nodes(chassis))


EVENT = Event(
    kind="fail-chassis",
    summary="the chassis switch and its nodes die at once; the fabric follows",
    target="a chassis, e.g. c2",
    change=change,
    planned=False,
    apply_to_machines=apply_to_machines,
    loss=True,
)
