"""Membership: the state of every storage node and switch, as pure data.

======== ============ =========== ==================================================
state    balanced over gets copies what it means
======== ============ =========== ==================================================
in       yes          yes         an ordinary member
drained  no           yes         alive, keeps its connections until they are reset
failed   no           no          no power; the switches drop what it sends
======== ============ =========== ==================================================

A whole chassis can have failed or be cut off. Failed: its switch and nodes have no power.
Cut off: its uplink is down; its nodes have power and keep their TCP state, but no packet
goes in or out. Neither is balanced over or gets copies. The tables of a cut-off chassis'
own switch stay unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from topologies.domain.plan import Chassis, Node, Plan


class NodeState(str, Enum):
    """The state of a storage node for the load balancers; see the module's table."""

    IN_SERVICE = "in-service"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True)
class Membership:
    """The state of every node, and the names of failed and of cut-off chassis.

    A node that is not listed is in service. So a node that
    :meth:`~topologies.domain.plan.Plan.with_node` adds to the plan is in service too. All
    nodes of a failed or cut-off chassis are unreachable, in any state. ``reseeds``: how
    often each switch, by name, has got another hash basis. A switch that is not listed
    has its first basis (:func:`topologies.domain.forecast.basis_of`).
    """

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    failed_chassis: frozenset[str] = frozenset()
    cut_off_chassis: frozenset[str] = frozenset()
    reseeds: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings: a membership is a value, shared between threads."""
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        object.__setattr__(self, "reseeds", MappingProxyType(dict(self.reseeds)))

    def __hash__(self) -> int:
        """Equal memberships have equal hashes, in any order of their members."""
        return hash(
            (
                frozenset(self.nodes.items()),
                self.failed_chassis,
                self.cut_off_chassis,
                frozenset(self.reseeds.items()),
            )
        )

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

    def with_chassis_cut_off(self, name: str) -> Membership:
        """This membership, with the uplink of the chassis of that name down."""
        return replace(self, cut_off_chassis=self.cut_off_chassis | {name})

    def with_chassis_connected(self, name: str) -> Membership:
        """This membership, with the uplink of the chassis of that name up again."""
        return replace(self, cut_off_chassis=self.cut_off_chassis - {name})

    def with_reseeded(self, switch: str) -> Membership:
        """This membership, with another hash basis for the switch of that name."""
        times = self.reseeds.get(switch, 0) + 1
        return replace(self, reseeds={**self.reseeds, switch: times})

    def of_chassis(self, chassis: Chassis) -> Membership:
        """The part of the membership that the chassis' own switch depends on.

        The state of its uplink is not part of it: a cut-off switch cannot be updated.
        """
        name = chassis.name
        return Membership(
            {node.name: self.state(node) for node in chassis.nodes},
            self.failed_chassis & {name},
            reseeds={name: self.reseeds[name]} if name in self.reseeds else {},
        )

    @property
    def unreachable_chassis(self) -> frozenset[str]:
        """Names of the chassis that the fabric cannot reach: failed or cut off."""
        return self.failed_chassis | self.cut_off_chassis

    def state(self, node: Node) -> NodeState:
        """The node's own state; its chassis may have failed nevertheless."""
        return self.nodes.get(node.name, NodeState.IN_SERVICE)

    def serving_nodes(self, chassis: Chassis) -> tuple[Node, ...]:
        """The nodes that tier 2 of ``chassis`` balances over, in the plan's order."""
        return tuple(
            node
            for node in self.reachable_nodes(chassis)
            if self.state(node) is NodeState.IN_SERVICE
        )

    def reachable_nodes(self, chassis: Chassis) -> tuple[Node, ...]:
        """The live nodes of ``chassis``; none if it is cut off.

        Each gets one of the further resets (E5).
        """
        if chassis.name in self.cut_off_chassis:
            return ()
        return self.powered_nodes(chassis)

    def powered_nodes(self, chassis: Chassis) -> tuple[Node, ...]:
        """The nodes of ``chassis`` that have power, and therefore TCP state."""
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
        """The chassis that have not failed and are not cut off.

        Each gets one of the further resets (E4).
        """
        return tuple(c for c in plan.chassis if c.name not in self.unreachable_chassis)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of this membership."""
        return {
            "nodes": {name: state.value for name, state in self.nodes.items()},
            "failed_chassis": sorted(self.failed_chassis),
            "cut_off_chassis": sorted(self.cut_off_chassis),
            "reseeds": dict(self.reseeds),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Membership:
        """The membership that :meth:`to_json` described.

        Raises :class:`KeyError` for a missing key, :class:`ValueError` for an unknown
        :class:`NodeState`.
        """
        return cls(
            {name: NodeState(state) for name, state in data["nodes"].items()},
            frozenset(data["failed_chassis"]),
            frozenset(data["cut_off_chassis"]),
            data["reseeds"],
        )
