"""What a membership event is: a pure change of state, and what happens to machines first.

``change`` decides, with no machine in sight, which plan and membership follow from an
event, or raises :class:`EventError`. ``before`` is what physically happens before the
switches learn of it: a node that loses power does so first and is noticed later; a
node that is added serves first and is balanced over later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from controller.membership import NodeState
from controller.state import ClusterState
from topologies.plan import Chassis, Node, Plan


class EventError(ValueError):
    """An event that makes no sense for the cluster as it is; says what would."""


class Hands(Protocol):
    """What an event may do to the machines of a cluster."""

    def power_off_node(self, node: Node) -> None:
        """The node's link goes down; its programs and TCP state are gone."""

    def power_on_node(self, node: Node) -> None:
        """The node comes back empty and serves."""

    def power_off_chassis(self, chassis: Chassis) -> None:
        """The chassis switch and every node of it go down at once."""

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The chassis switch comes back, and those nodes, empty."""

    def build_node(self, plan: Plan, node: Node) -> None:
        """A node that was not there is wired in and serves."""

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """A chassis that was not there is wired in with all its nodes."""


#: From the old state and a target's name to the new state.
Change = Callable[[ClusterState, str], ClusterState]
#: Hands, old state, new state, target's name.
Before = Callable[[Hands, ClusterState, ClusterState, str], None]


def _nothing(hands: Hands, old: ClusterState, new: ClusterState, target: str) -> None:
    """No machine is touched: only the tables change."""


@dataclass(frozen=True)
class Event:
    """One kind of event: its name, what it is for, its change and its physical side."""

    kind: str
    summary: str
    target: str
    change: Change
    before: Before = _nothing


def with_node(state: ClusterState, name: str, node_state: NodeState) -> ClusterState:
    """That state with one node's state changed."""
    return replace(state, membership=state.membership.with_node(name, node_state))


def node_state(state: ClusterState, name: str) -> NodeState:
    """State of the node of that name. Raises ``PlanError`` where there is none."""
    return state.membership.state(state.plan.find_node(name))


def require_in_service(state: ClusterState, name: str) -> None:
    """Refuses, by :class:`EventError`, what only a serving node can undergo."""
    chassis = f"c{state.plan.find_node(name).chassis}"
    if chassis in state.membership.failed_chassis:
        raise EventError(f"{name}: its chassis {chassis} has failed")
    now = node_state(state, name)
    if now is not NodeState.IN_SERVICE:
        raise EventError(f"{name} is {now.value}, not in service")


def require_service(state: ClusterState, what: str) -> ClusterState:
    """That state, unless nothing in it serves: then :class:`EventError`."""
    if not state.membership.serving_chassis(state.plan):
        raise EventError(f"{what}: no node would be left in service")
    return state
