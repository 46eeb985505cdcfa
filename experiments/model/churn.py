"""Membership that changes by chance: members leave at a rate, and come back.

The tables are those that the events of the testbed lead to (a test compares), without a
plan of the whole cluster for each of thousands of events.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.balancers import Balancer
from controller.pipeline.horizon import horizon_known
from experiments.model.durations import Durations
from experiments.model.membership_changes import Change, Changes
from topologies.domain.buckets import BucketTable
from topologies.domain.forecast import CHASSIS_BASIS, FABRIC_BASIS
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FABRIC


@dataclass(frozen=True)
class Churn:
    """``per_s``: how many members leave a second, on average, as a Poisson process.

    ``outage``: how long each is away. ``planned_share``: of the nodes that leave, those
    that are drained; the others fail and come back empty. ``chassis_share``: of the events,
    those that hit a whole chassis; a planned one cannot be, so it fails. A member that is
    away does not leave again; the last one in service stays.
    """

    per_s: float
    outage: Durations
    planned_share: float = 1.0
    chassis_share: float = 0.0
    at_most: int = 1_000_000


def flat(nodes: int) -> dict[str, list[str]]:
    """One tier of that many nodes: a single chassis, to which the fabric sends all."""
    return {"c1": [f"c1n{number}" for number in range(1, nodes + 1)]}


def grid(chassis: int, nodes: int) -> dict[str, list[str]]:
    """Two tiers, named as the plan does."""
    return {
        f"c{c}": [f"c{c}n{n}" for n in range(1, nodes + 1)]
        for c in range(1, chassis + 1)
    }


def changes_by_chance(
    chassis: Mapping[str, Sequence[str]],
    balancer: Balancer,
    churn: Churn,
    until_s: float,
    seed: int = 1,
) -> Changes:
    """The course of a cluster that begins with all members in service."""
    words = [seed, *b"churn"]
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))
    cluster = _Cluster(chassis, balancer)
    start, joined = cluster.all_tables(), cluster.joined((FABRIC, *chassis))
    found: list[Change] = []
    returns: list[tuple[float, str]] = []
    at = 0.0
    while len(found) < churn.at_most:
        at += float(rng.standard_exponential()) / churn.per_s
        while returns and returns[0][0] < min(at, until_s):
            back, name = heapq.heappop(returns)
            later = cluster.unreachable_until(name)
            if later is None:
                found.append(cluster.restore(name, back))
            else:
                # Right after its chassis: at one time the shorter name comes first.
                heapq.heappush(returns, (later, name))
        if at >= until_s:
            break
        outage = float(churn.outage.draw(rng, 1)[0])
        planned, whole, place = rng.random(3)
        change = cluster.leave(
            whole < churn.chassis_share,
            planned < churn.planned_share,
            place,
            (at, at + outage),
        )
        if change is not None:
            found.append(change)
            heapq.heappush(returns, (at + outage, change.label.split()[1]))
    return Changes(start, dict(chassis), found[: churn.at_most], joined)


@dataclass
class _Cluster:
    """Who is in service, and the tables that follow."""

    chassis: Mapping[str, Sequence[str]]
    balancer: Balancer
    #: Chassis -> its nodes in service, in order.
    serving: dict[str, list[str]] = field(init=False)
    #: Nodes away -> whether they have failed; chassis that have failed, until when.
    away: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    #: In which order members left, for balancers that need it.
    _order: Membership = field(default_factory=Membership)

    def __post_init__(self) -> None:
        self.serving = {name: list(nodes) for name, nodes in self.chassis.items()}
        self._of = {
            node: name for name, nodes in self.chassis.items() for node in nodes
        }

    def all_tables(self) -> dict[str, BucketTable]:
        """The tables of every switch."""
        return self.tables((FABRIC, *self.chassis))

    def tables(self, switches: Sequence[str]) -> dict[str, BucketTable]:
        """Of these switches."""
        return {name: self._table(name) for name in switches}

    def joined(self, switches: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The same once all have joined that may; nothing if that cannot be told."""
        if not horizon_known(self.balancer):
            return {}
        return {name: self._joined(name) for name in switches}

    def _joined(self, switch: str) -> tuple[str, ...]:
        departed = self._order.departed(switch)
        if switch == FABRIC:
            names = dict.fromkeys((*self.chassis, f"c{len(self.chassis) + 1}"), ())
            return self.balancer.chassis_table(names, departed)
        nodes = self.chassis[switch]
        return self.balancer.node_table(
            [*nodes, f"{switch}n{len(nodes) + 1}"], departed
        )

    def _change(
        self, at: float, switches: Sequence[str], lost: Mapping[str, bool], label: str
    ) -> Change:
        """A change of those switches' tables, and of power and reach alike."""
        joined = self.joined(switches) if self.balancer.ordered else {}
        return Change(at, self.tables(switches), lost, lost, label, joined)

    def leave(
        self, whole: bool, planned: bool, place: float, times: tuple[float, float]
    ) -> Change | None:
        """A member leaves, chosen by ``place`` from 0 to 1; ``times``: from and until
        when. None if it is away already, or nobody would be left."""
        at, until = times
        if whole:
            name = list(self.chassis)[int(place * len(self.chassis))]
            up = dict.fromkeys(self._powered(name), False)
            others = any(self._serves(c) for c in self.chassis if c != name)
            if name in self.failed or not others:
                return None
            self.failed[name] = until
            self._order = self._order.with_chassis_failed(name)
            return self._change(at, (FABRIC, name), up, f"fail-chassis {name}")
        nodes = list(self._of)
        node = nodes[int(place * len(nodes))]
        name = self._of[node]
        others = any(self._serves(c) for c in self.chassis if c != name)
        last = self.serving[name] == [node] and not others
        if node in self.away or name in self.failed or last:
            return None
        self.away[node] = not planned
        self.serving[name].remove(node)
        if self.balancer.ordered:
            self._order = self._order.with_node(node, NodeState.DRAINED)
        lost = {} if planned else {node: False}
        kind = "drain-node" if planned else "fail-node"
        return self._change(at, self._around(name), lost, f"{kind} {node}")

    def unreachable_until(self, name: str) -> float | None:
        """When the chassis of that node is back; None if it is there."""
        return self.failed.get(self._of.get(name, ""))

    def restore(self, name: str, at: float) -> Change:
        """A member is back."""
        if name in self.failed:
            del self.failed[name]
            self._order = self._order.with_chassis_restored(name)
            up = dict.fromkeys(self._powered(name), True)
            return self._change(at, (FABRIC, name), up, f"restore-chassis {name}")
        chassis = self._of[name]
        had_failed = self.away.pop(name)
        place = list(self.chassis[chassis]).index
        self.serving[chassis] = sorted([*self.serving[chassis], name], key=place)
        if self.balancer.ordered:
            self._order = self._order.with_node(name, NodeState.IN_SERVICE)
        back = {name: True} if had_failed and chassis not in self.failed else {}
        return self._change(at, self._around(chassis), back, f"restore-node {name}")

    def _around(self, chassis: str) -> tuple[str, ...]:
        """The switches whose tables a node of that chassis may have changed."""
        weights = bool(self.balancer.weights)
        few = len(self.serving[chassis]) <= 1
        return (FABRIC, chassis) if few or weights else (chassis,)

    def _serves(self, chassis: str) -> bool:
        return bool(self.serving[chassis]) and chassis not in self.failed

    def _powered(self, chassis: str) -> list[str]:
        return [n for n in self.chassis[chassis] if not self.away.get(n, False)]

    def _table(self, switch: str) -> BucketTable:
        if switch == FABRIC:
            serving = {
                name: nodes
                for name, nodes in self.serving.items()
                if self._serves(name)
            }
            departed = self._order.departed(FABRIC)
            members = self.balancer.chassis_table(serving, departed)
            return BucketTable(FABRIC_BASIS, tuple(members))
        nodes = [] if switch in self.failed else self.serving[switch]
        table = self.balancer.node_table(nodes, self._order.departed(switch))
        return BucketTable(CHASSIS_BASIS, tuple(table))
