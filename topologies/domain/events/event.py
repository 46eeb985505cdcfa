"""What a membership event is: a pure change of state, and what happens to machines first.

``change`` decides, with no machine in sight, which plan and membership follow from an
event, or raises :class:`EventError`. ``apply_to_machines`` is what physically happens before the
switches learn of it: a node that loses power does so first and is noticed later; a
node that is added serves first and is balanced over later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from topologies.domain.arrangement import Arrangement
from topologies.domain.membership import NodeState
from topologies.domain.plan import Chassis, Node, Plan


class EventError(ValueError):
    """An event that makes no sense for the cluster as it is; says what would."""


class MachineActions(Protocol):
    """What an event may do to the machines of a cluster."""

    def power_off_node(self, node: Node) -> None:
        """The node's link goes down; its programs and TCP state are gone."""

    def power_on_node(self, node: Node) -> None:
        """The node comes back empty and serves."""

    def power_off_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The chassis switch and those nodes, all that had power, go down at once."""

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The chassis switch comes back, and those nodes, empty."""

    def set_uplink_down(self, chassis: Chassis) -> None:
        """The cable to the fabric loses its carrier; nothing behind it loses power."""

    def set_uplink_up(self, chassis: Chassis) -> None:
        """The cable to the fabric has its carrier again."""

    def build_node(self, plan: Plan, node: Node) -> None:
        """A node that was not there is wired in and serves."""

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """A chassis that was not there is wired in with all its nodes."""


#: From the old state and a target's name to the new state.
Change = Callable[[Arrangement, str], Arrangement]
#: MachineActions, old state, new state, target's name.
MachineStep = Callable[[MachineActions, Arrangement, Arrangement, str], None]


def _nothing(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """No machine is touched: only the tables change."""


@dataclass(frozen=True)
class Event:
    """One kind of event: its name, what it is for, its change and its physical side.

    ``planned``: it is somebody's intention; the others happen to a cluster.
    ``loss``: the physical side takes power or a carrier away. Of events at one instant
    these come last, since what comes up takes a while.
    """

    kind: str
    summary: str
    target: str
    change: Change
    planned: bool
    apply_to_machines: MachineStep = _nothing
    loss: bool = False


def with_node(state: Arrangement, name: str, node_state: NodeState) -> Arrangement:
    """That state with one node's state changed."""
    return replace(state, membership=state.membership.with_node(name, node_state))


def node_state(state: Arrangement, name: str) -> NodeState:
    """State of the node of that name. Raises ``PlanError`` where there is none."""
    return state.membership.state(state.plan.find_node(name))


def chassis_of(state: Arrangement, node: str) -> Chassis:
    """The chassis of the node of that name. Raises ``PlanError`` where there is none."""
    return state.plan.chassis[state.plan.find_node(node).chassis - 1]


def require_reachable(state: Arrangement, chassis: Chassis, target: str) -> None:
    """Refuses, by :class:`EventError`, what cannot be done to ``target``, of that
    chassis or itself it, while it has failed or is cut off."""
    name, membership = chassis.name, state.membership
    if name in membership.failed_chassis:
        raise EventError(
            f"{target}: chassis {name} has failed; restore-chassis {name} first"
        )
    if name in membership.cut_off_chassis:
        raise EventError(f"{target}: chassis {name} is cut off; uplink-up {name} first")


def require_in_service(state: Arrangement, name: str) -> None:
    """Refuses, by :class:`EventError`, what only a serving node can undergo."""
    require_reachable(state, chassis_of(state, name), name)
    now = node_state(state, name)
    if now is not NodeState.IN_SERVICE:
        raise EventError(f"{name} is {now.value}, not in service")


def require_service(state: Arrangement, what: str) -> Arrangement:
    """That state, unless nothing in it serves: then :class:`EventError`."""
    if not state.membership.serving_chassis(state.plan):
        raise EventError(f"{what}: no node would be left in service")
    return state
