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

from topologies.domain.balancer import Departed
from topologies.domain.plan import FABRIC, Chassis, Node, Plan


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

    ``left``: the nodes and chassis that have left service, the latest last. ``seats``:
    for balancers that need it, whose place each member has that does not have its own. A
    member that joins takes the place that was left last among its own kind.
    """

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    failed_chassis: frozenset[str] = frozenset()
    cut_off_chassis: frozenset[str] = frozenset()
    reseeds: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    seats: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings: a membership is a value, shared between threads."""
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        object.__setattr__(self, "reseeds", MappingProxyType(dict(self.reseeds)))
        object.__setattr__(self, "seats", MappingProxyType(dict(self.seats)))

    def __hash__(self) -> int:
        """Equal memberships have equal hashes, in any order of their members."""
        return hash(
            (
                frozenset(self.nodes.items()),
                self.failed_chassis,
                self.cut_off_chassis,
                frozenset(self.reseeds.items()),
                self.left,
                frozenset(self.seats.items()),
            )
        )

    @classmethod
    def all_in_service(cls, plan: Plan) -> Membership:
        """Every node of ``plan`` in service, no chassis failed."""
        return cls({node.name: NodeState.IN_SERVICE for node in plan.nodes})

    def with_node(self, name: str, state: NodeState) -> Membership:
        """This membership, with the node of that name in ``state``."""
        changed = replace(self, nodes={**self.nodes, name: state})
        if state is not NodeState.IN_SERVICE:
            return changed._leaving(name)
        if self.nodes.get(name) is NodeState.IN_SERVICE:
            return changed
        return changed._joining(name)

    def with_chassis_failed(self, name: str) -> Membership:
        """This membership, with the chassis of that name failed."""
        return replace(self, failed_chassis=self.failed_chassis | {name})._leaving(name)

    def with_chassis_restored(self, name: str) -> Membership:
        """This membership, with the chassis of that name no longer failed."""
        changed = replace(self, failed_chassis=self.failed_chassis - {name})
        return changed if name in self.cut_off_chassis else changed._joining(name)

    def with_chassis_cut_off(self, name: str) -> Membership:
        """This membership, with the uplink of the chassis of that name down."""
        cut_off = self.cut_off_chassis | {name}
        return replace(self, cut_off_chassis=cut_off)._leaving(name)

    def with_chassis_connected(self, name: str) -> Membership:
        """This membership, with the uplink of the chassis of that name up again."""
        changed = replace(self, cut_off_chassis=self.cut_off_chassis - {name})
        return changed if name in self.failed_chassis else changed._joining(name)

    def _leaving(self, name: str) -> Membership:
        """Its place is the one that was left last, if it has not left before."""
        return self if name in self.left else replace(self, left=(*self.left, name))

    def _joining(self, name: str) -> Membership:
        """It takes the place that was left last; who left that gets its place instead."""
        latest = [one for one in self.left if _pool(one) == _pool(name)][-1:]
        if not latest:
            return self
        (other,) = latest
        seats = {
            **self.seats,
            name: self.seats.get(other, other),
            other: self.seats.get(name, name),
        }
        remaining = [one for one in self.left if one != other]
        if name in remaining:
            remaining[remaining.index(name)] = other
        elif name != other:
            # A new member's own place was never taken: nothing was left before it.
            remaining.insert(0, other)
        return replace(
            self,
            left=tuple(remaining),
            seats={one: seat for one, seat in seats.items() if one != seat},
        )

    def departed(self, switch: str) -> Departed:
        """Who has left that switch's members, ``fabric`` or a chassis' name."""
        seats = sorted(s for s in self.seats.items() if _pool(s[0]) == switch)
        left = (name for name in self.left if _pool(name) == switch)
        return Departed(tuple(left), tuple(seats))

    def with_reseeded(self, switch: str) -> Membership:
        """This membership, with another hash basis for the switch of that name."""
        times = self.reseeds.get(switch, 0) + 1
        return replace(self, reseeds={**self.reseeds, switch: times})

    def of_chassis(self, chassis: Chassis) -> Membership:
        """The part of the membership that the chassis' own switch depends on.

        The state of its uplink is not part of it: a cut-off switch cannot be updated.
        """
        name = chassis.name
        own = self.departed(name)
        return Membership(
            {node.name: self.state(node) for node in chassis.nodes},
            self.failed_chassis & {name},
            reseeds={name: self.reseeds[name]} if name in self.reseeds else {},
            left=own.left,
            seats=dict(own.seats),
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
        order = {"left": list(self.left), "seats": dict(self.seats)}
        return {
            "nodes": {name: state.value for name, state in self.nodes.items()},
            "failed_chassis": sorted(self.failed_chassis),
            "cut_off_chassis": sorted(self.cut_off_chassis),
            "reseeds": dict(self.reseeds),
            **{key: value for key, value in order.items() if value},
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
            tuple(data.get("left", ())),
            data.get("seats", {}),
        )


def _pool(member: str) -> str:
    """The switch that balances over a member, by their names.

    >>> _pool("c1n2"), _pool("c2")
    ('c1', 'fabric')
    """
    chassis, is_node, _ = member.partition("n")
    return chassis if is_node else FABRIC
