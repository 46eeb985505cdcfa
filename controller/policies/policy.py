"""A reset policy: what nodes and switches do with a stray segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.flows.entries import FlowEntry
from controller.policies.promise import Promise
from topologies.domain.buckets import BucketTable
from topologies.domain.membership import Membership
from topologies.domain.plan import Chassis, Plan


def no_fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """No entries: the fabric forwards a reset like any other segment."""
    return ()


def no_chassis_entries(
    chassis: Chassis, membership: Membership
) -> tuple[FlowEntry, ...]:
    """No entries: the chassis does nothing with resets."""
    return ()


#: A switch's bucket tables: the current one, then earlier ones, latest first. Empty for a
#: state in which the switch did not exist.
Tables = tuple[BucketTable, ...]


@dataclass(frozen=True)
class TableHistory:
    """A policy's flow entries that depend on the bucket tables; pure functions.

    ``versions``: the number of earlier tables that it needs.
    """

    versions: int
    fabric_entries: Callable[[Plan, Membership, Tables], tuple[FlowEntry, ...]]
    chassis_entries: Callable[[Chassis, Membership, Tables], tuple[FlowEntry, ...]]


@dataclass(frozen=True)
class ResetPolicy:
    """How nodes and switches handle a stray segment.

    ``promises``: what a run with this policy must show; at least one.
    ``guard_answers``: whether nodes answer a stray with a reset (E2), or are silent.
    ``fabric_entries`` and ``chassis_entries``: the flow entries that the policy adds to
    each tier; pure functions. ``table_history``: flow entries that depend on current and
    earlier bucket tables. ``excludes_origin``: the node that sent the reset gets no copy.
    ``resets_at_event``: when the switches have a new table, nodes reset connections that
    it gives to another node. ``pins``: switches learn each connection's member and keep
    it. ``preserves_moved``: a connection keeps its old owner after its bucket has moved.
    ``redirects_strays``: a guard sends a stray to the connection's earlier owner first.
    ``traps_resets``: resets are trapped to the controller, which notifies the guards.
    """

    name: str
    summary: str
    guard_answers: bool
    promises: frozenset[Promise]
    fabric_entries: Callable[[Plan, Membership], tuple[FlowEntry, ...]] = (
        no_fabric_entries
    )
    chassis_entries: Callable[[Chassis, Membership], tuple[FlowEntry, ...]] = (
        no_chassis_entries
    )
    table_history: TableHistory | None = None
    excludes_origin: bool = False
    resets_at_event: bool = False
    traps_resets: bool = False
    pins: bool = False
    redirects_strays: bool = False
    preserves_moved: bool = False

    def __post_init__(self) -> None:
        """Raises :class:`ValueError` for a policy without a promise."""
        if not self.promises:
            raise ValueError(f"{self.name}: a policy promises something")
