"""``add-node``: scale-out by one node."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    EventError,
    MachineActions,
    require_reachable,
    with_node,
)
from topologies.domain.membership import NodeState
from topologies.domain.plan import Node, Plan


def _grown(state: Arrangement, target: str) -> tuple[Plan, Node]:
    """The plan with its new node; ``target`` is a chassis or the new node's name."""
    chassis, _, _ = target.partition("n")
    plan, node = state.plan.with_node(chassis)
    if target not in (chassis, node.name):
        raise EventError(f"{target}: the next node of {chassis} is {node.name}")
    return plan, node


def change(state: Arrangement, target: str) -> Arrangement:
    """One more node at the end of the chassis, in service."""
    plan, node = _grown(state, target)
    require_reachable(state, state.plan.chassis[node.chassis - 1], target)
    grown = replace(state, plan=plan)
    return with_node(grown, node.name, NodeState.IN_SERVICE)


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Connect and start the node, before it gets any bucket."""
    plan, node = _grown(old, target)
    machines.build_node(plan, node)


EVENT = Event(
    kind="add-node",
    summary="a new node is built in a chassis and joins its bucket table",
    target="a chassis, e.g. c2, or the next node's name, e.g. c2n4",
    change=change,
    planned=True,
    apply_to_machines=apply_to_machines,
)
