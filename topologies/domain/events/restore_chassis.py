"""``restore-chassis``: a failed chassis serves again, its nodes without TCP state."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions
from topologies.domain.membership import NodeState


def change(state: Arrangement, target: str) -> Arrangement:
    """The chassis is balanced over again, with the nodes that had not failed themselves."""
    name = state.plan.find_chassis(target).name
    if name not in state.membership.failed_chassis:
        raise EventError(f"{name} has not failed")
    return replace(state, membership=state.membership.with_chassis_restored(name))


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Start switch and nodes before the fabric sends them anything."""
    chassis = old.plan.find_chassis(target)
    up = tuple(
        node
        for node in chassis.nodes
        if new.membership.state(node) is not NodeState.FAILED
    )
    machines.power_on_chassis(chassis, up)


EVENT = Event(
    kind="restore-chassis",
    summary="a failed chassis serves again; its nodes come back empty",
    target="a failed chassis, e.g. c2",
    change=change,
    planned=True,
    apply_to_machines=apply_to_machines,
)
