"""What changes in a cluster, and when: bucket tables, power, reachability.

Everything that the computation needs to know of a cluster. :func:`changes_of_spec` takes
them from a spec's events, by the events' own rules; :mod:`experiments.model.churn` makes
them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.balancers import Balancer
from controller.pipeline.horizon import chassis_joined, fabric_joined
from topologies.domain.arrangement import Arrangement
from topologies.domain.buckets import BucketTable
from topologies.domain.plan import FABRIC


@dataclass(frozen=True)
class Change:
    """One instant of events, ``at`` seconds.

    ``tables``: of the switches whose table changes; an empty one has no member.
    ``powered`` and ``reachable``: nodes, by name, for which that changes. A node that
    loses power loses its connections. ``label``: what it is, for people. ``joined``: tables
    once all have joined that may, where that changes (:mod:`controller.pipeline.horizon`).
    """

    at: float
    tables: Mapping[str, BucketTable] = field(default_factory=dict)
    powered: Mapping[str, bool] = field(default_factory=dict)
    reachable: Mapping[str, bool] = field(default_factory=dict)
    label: str = ""
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """A cluster's course: its tables at the start, and its changes in order of time.

    ``start``: by switch, ``fabric`` and every chassis. ``chassis``: chassis -> its nodes,
    also those that are added later. ``joined``: at the start, see :class:`Change`.
    """

    start: Mapping[str, BucketTable]
    chassis: Mapping[str, Sequence[str]]
    changes: Sequence[Change] = ()
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        """When each change happens."""
        return [change.at for change in self.changes]


def changes_of(
    states: Sequence[Arrangement],
    instants: Sequence[tuple[float, str]],
    balancer: Balancer,
) -> Changes:
    """The course through those states; ``instants``: time and label of each change."""
    first, last = states[0], states[-1]
    found = []
    before = _Seen.of(first, balancer)
    start, joined = dict(before.tables), dict(before.joined)
    for state, (at, label) in zip(states[1:], instants, strict=True):
        now = _Seen.of(state, balancer)
        found.append(
            Change(
                at,
                _changed(before.tables, now.tables),
                _changed(before.powered, now.powered),
                _changed(before.reachable, now.reachable),
                label,
                _changed(before.joined, now.joined),
            )
        )
        before = now
    chassis = {c.name: [node.name for node in c.nodes] for c in last.plan.chassis}
    return Changes(start, chassis, found, joined)


@dataclass(frozen=True)
class _Seen:
    """One state, as the computation sees it."""

    tables: Mapping[str, BucketTable]
    powered: Mapping[str, bool]
    reachable: Mapping[str, bool]
    joined: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, state: Arrangement, balancer: Balancer) -> _Seen:
        plan, membership = state.plan, state.membership
        switches = (FABRIC, *(chassis.name for chassis in plan.chassis))
        powered, reachable = {}, {}
        for chassis in plan.chassis:
            up = set(membership.powered_nodes(chassis))
            reached = set(membership.reachable_nodes(chassis))
            for node in chassis.nodes:
                powered[node.name] = node in up
                reachable[node.name] = node in reached
        tables = {name: state.table(name, balancer) for name in switches}
        joined = {FABRIC: fabric_joined(plan, membership, balancer)}
        for chassis in plan.chassis:
            own = membership.of_chassis(chassis)
            joined[chassis.name] = chassis_joined(chassis, own, balancer)
        return cls(tables, powered, reachable, joined)


def _changed(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, Any]:
    """What is new or has another value."""
    return {name: value for name, value in new.items() if old.get(name) != value}
