"""An event: a pure change of state, and actions on machines before it.

``change`` computes the new plan and membership without touching a machine, or raises
:class:`EventError`. ``apply_to_machines`` runs before the switches are updated: a node
loses power first and leaves the tables later; a new node serves first and enters the
tables later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from topologies.domain.arrangement import Arrangement
from topologies.domain.link_options import LinkOptions
from topologies.domain.membership import NodeState
from topologies.domain.plan import Chassis, Node, Plan


class EventError(ValueError):
    """An event that is not possible in the current state; the text says what is."""


class MachineActions(Protocol):
    """The actions that an event can perform on a cluster's machines."""

    def power_off_node(self, node: Node) -> None:
        """Set the node's link down; end its programs and its TCP state."""

    def power_on_node(self, node: Node) -> None:
        """Start the node, without TCP state; it serves."""

    def power_off_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """Stop the chassis switch and those nodes (all that are up) together."""

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """Start the chassis switch and those nodes, without TCP state."""

    def set_uplink_down(self, chassis: Chassis) -> None:
        """Set the link to the fabric down; the chassis and its nodes keep power."""

    def set_uplink_up(self, chassis: Chassis) -> None:
        """Set the link to the fabric up."""

    def build_node(self, plan: Plan, node: Node) -> None:
        """Connect a new node; it serves."""

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """Connect a new chassis with all its nodes."""

    def shape_link(self, host: str, link: LinkOptions) -> None:
        """Shape what that host sends, from now on."""


#: From the old state and a target's name to the new state.
Change = Callable[[Arrangement, str], Arrangement]
#: Arguments: machine actions, old state, new state, target's name.
MachineStep = Callable[[MachineActions, Arrangement, Arrangement, str], None]


def _nothing(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """No action on machines: only the tables change."""


@dataclass(frozen=True)
class Event:
    """One kind of event: its name, description, change of state and actions on machines.

    ``planned``: an operator's decision, not a failure. ``loss``: it removes power or a
    link. Of events at one instant these come last, because starting a machine takes time.
    ``link``: the shaping that it gives to its target's link; None for a membership event.
    """

    kind: str
    summary: str
    target: str
    change: Change
    planned: bool
    apply_to_machines: MachineStep = _nothing
    loss: bool = False
    link: LinkOptions | None = None


def with_node(state: Arrangement, name: str, node_state: NodeState) -> Arrangement:
    """The state with one node's state changed."""
    return replace(state, membership=state.membership.with_node(name, node_state))


def node_state(state: Arrangement, name: str) -> NodeState:
    """State of the node of that name. Raises ``PlanError`` for an unknown name."""
    return state.membership.state(state.plan.find_node(name))


def chassis_of(state: Arrangement, node: str) -> Chassis:
    """The chassis of the node of that name. Raises ``PlanError`` for an unknown name."""
    return state.plan.chassis[state.plan.find_node(node).chassis - 1]


def require_reachable(state: Arrangement, chassis: Chassis, target: str) -> None:
    """Raise :class:`EventError` if the chassis has failed or is cut off.

    ``target`` is the event's target: the chassis itself, or a node of it.
    """
    name, membership = chassis.name, state.membership
    if name in membership.failed_chassis:
        raise EventError(
            f"{target}: chassis {name} has failed; restore-chassis {name} first"
        )
    if name in membership.cut_off_chassis:
        raise EventError(f"{target}: chassis {name} is cut off; uplink-up {name} first")


def require_in_service(state: Arrangement, name: str) -> None:
    """Raise :class:`EventError` if the node of that name is not in service."""
    require_reachable(state, chassis_of(state, name), name)
    now = node_state(state, name)
    if now is not NodeState.IN_SERVICE:
        raise EventError(f"{name} is {now.value}, not in service")


def require_service(state: Arrangement, what: str) -> Arrangement:
    """The state itself. Raises :class:`EventError` if no node in it serves."""
    if not state.membership.serving_chassis(state.plan):
        raise EventError(f"{what}: no node would be left in service")
    return state
