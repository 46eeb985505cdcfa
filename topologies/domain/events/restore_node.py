"""``restore-node``: a drained or failed node returns to the bucket table."""

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    EventError,
    MachineActions,
    chassis_of,
    node_state,
    require_reachable,
    with_node,
)
from topologies.domain.membership import NodeState


def change(state: Arrangement, target: str) -> Arrangement:
    """The node is balanced over again."""
    require_reachable(state, chassis_of(state, target), target)
    if node_state(state, target) is NodeState.IN_SERVICE:
        raise EventError(f"{target} is in service already")
    return with_node(state, target, NodeState.IN_SERVICE)


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Start a failed node, without TCP state. A drained node has been up all the time."""
    if node_state(old, target) is NodeState.FAILED:
        machines.power_on_node(old.plan.find_node(target))


EVENT = Event(
    kind="restore-node",
    summary="a drained or failed node serves again (a failed one comes back empty)",
    target="a drained or failed node, e.g. c1n2",
    change=change,
    planned=True,
    apply_to_machines=apply_to_machines,
)
