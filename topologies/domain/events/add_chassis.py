"""``add-chassis``: scale-out by one chassis, as large as the first."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions, with_node
from topologies.domain.membership import NodeState
from topologies.domain.plan import Chassis, Plan


def _grown(state: Arrangement, target: str) -> tuple[Plan, Chassis]:
    """The plan with its new chassis; ``target`` must be its name."""
    plan, chassis = state.plan.with_chassis(len(state.plan.chassis[0].nodes))
    if target != chassis.name:
        raise EventError(f"{target}: the next chassis is {chassis.name}")
    return plan, chassis


def change(state: Arrangement, target: str) -> Arrangement:
    """One more chassis, all its nodes in service."""
    plan, chassis = _grown(state, target)
    grown = replace(state, plan=plan)
    for node in chassis.nodes:
        grown = with_node(grown, node.name, NodeState.IN_SERVICE)
    return grown


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Connect the chassis and start its nodes, before it gets any bucket."""
    plan, chassis = _grown(old, target)
    machines.build_chassis(plan, chassis)


EVENT = Event(
    kind="add-chassis",
    summary="a new chassis is built, as large as the first, and joins the fabric",
    target="the next chassis' name, e.g. c3",
    change=change,
    planned=True,
    apply_to_machines=apply_to_machines,
)
