"""``fail-node``: the node loses power, and leaves the switches' tables."""

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    EventError,
    MachineActions,
    chassis_of,
    node_state,
    require_service,
    with_node,
)
from topologies.domain.membership import NodeState


def change(state: Arrangement, target: str) -> Arrangement:
    """The node is neither balanced over nor reachable.

    A drained node can fail too, and a node whose chassis is cut off.
    """
    chassis = chassis_of(state, target).name
    if chassis in state.membership.failed_chassis:
        raise EventError(f"{target} has failed already, with its chassis {chassis}")
    if node_state(state, target) is NodeState.FAILED:
        raise EventError(f"{target} has failed already")
    return require_service(with_node(state, target, NodeState.FAILED), target)


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Power off first: segments sent before the tables change are lost."""
    machines.power_off_node(old.plan.find_node(target))


EVENT = Event(
    kind="fail-node",
    summary="the node dies at once and loses its TCP state; the tables follow",
    target="a node that is up, e.g. c1n2",
    change=change,
    planned=False,
    apply_to_machines=apply_to_machines,
    loss=True,
)
