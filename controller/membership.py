"""Who is in service: the state of every storage node and chassis, as pure data.

======== ============ =========== ==================================================
state    balanced over gets copies what it means
======== ============ =========== ==================================================
in       yes          yes         an ordinary member
drained  no           yes         alive, keeps its connections until they are reset
failed   no           no          gone; the switches do not listen to it either
======== ============ =========== ==================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from topologies.plan import Chassis, Node, Plan


class NodeState(str, Enum):
    """What a storage node is to the load balancers; see the table of this module."""

    IN_SERVICE = "in-service"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True)
class Membership:
    """State of every node, by name, and the names of the chassis that have failed.

    A node that is not mentioned is in service, so that a plan can grow (by
    :meth:`~topologies.plan.Plan.with_node`) and its new member counts at once.
    Every node of a failed chassis is out of reach, whatever its own state.
    """

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    failed_chassis: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Freeze the mapping: a membership is a value, shared between threads."""
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))

    def __hash__(self) -> int:
        """Equal memberships hash alike, in whatever order their nodes were named."""
        return hash((frozenset(self.nodes.items()), self.failed_chassis))

    @classmethod
    def all_in_service(cls, plan: Plan) -> Membership:
        """Every node of ``plan`` in service, no chassis failed."""
        return cls({node.name: NodeState.IN_SERVICE for node in plan.nodes})

    def with_node(self, name: str, state: NodeState) -> Membership:
        """This membership, with the node of that name in ``state``."""
        return replace(self, nodes={**self.nodes, name: state})

    def with_chassis_failed(self, name: str) -> Membership:
        """This membership, with the chassis of that name failed."""
        return replace(self, failed_chassis=self.failed_chassis | {name})

    def with_chassis_restored(self, name: str) -> Membership:
        """This membership, with the chassis of that name no longer failed."""
        return replace(self, failed_chassis=self.failed_chassis - {name})

    def state(self, node: Node) -> NodeState:
        """The node's own state (its chassis may have failed all the same)."""
        return self.nodes.get(node.name, NodeState.IN_SERVICE)

    def serving_nodes(self, chassis: Chassis) -> tuple[Node, ...]:
        """The nodes that tier 2 of ``chassis`` balances over, in the plan's order."""
        return tuple(
            node
            for node in self.reachable_nodes(chassis)
            if self.state(node) is NodeState.IN_SERVICE
        )

    def reachable_nodes(self, chassis: Chassis) -> tuple[Node, ...]:
        """The live nodes of ``chassis``: each gets one of the further resets (E5)."""
        if chassis.name in self.failed_chassis:
            return ()
        return tuple(
            node for node in chassis.nodes if self.state(node) is not NodeState.FAILED
        )

    def serving_chassis(self, plan: Plan) -> tuple[Chassis, ...]:
        """The chassis that tier 1 balances over: those with a node in service."""
        return tuple(c for c in plan.chassis if self.serving_nodes(c))

    def serving_names(self, plan: Plan) -> dict[str, tuple[str, ...]]:
        """Chassis that tier 1 balances over -> nodes that it balances over, by name."""
        return {
            chassis.name: tuple(node.name for node in self.serving_nodes(chassis))
            for chassis in self.serving_chassis(plan)
        }

    def reachable_chassis(self, plan: Plan) -> tuple[Chassis, ...]:
        """The chassis that have not failed: each gets one of the further resets (E4)."""
        return tuple(c for c in plan.chassis if c.name not in self.failed_chassis)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of this membership."""
        return {
            "nodes": {name: state.value for name, state in self.nodes.items()},
            "failed_chassis": sorted(self.failed_chassis),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Membership:
        """The membership that :meth:`to_json` described.

        Raises :class:`KeyError` for a missing key, :class:`ValueError` for a state
        that is none of :class:`NodeState`.
        """
        return cls(
            {name: NodeState(state) for name, state in data["nodes"].items()},
            frozenset(data["failed_chassis"]),
        )
