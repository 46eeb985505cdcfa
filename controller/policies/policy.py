"""What a reset policy is: what nodes and switches do about an unrecognised segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.flows.entries import FlowEntry
from controller.policies.promise import Promise
from topologies.domain.buckets import BucketTable
from topologies.domain.membership import Membership
from topologies.domain.plan import Chassis, Plan


def no_fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """The fabric treats a "not recognised" reset as any other segment."""
    return ()


def no_chassis_entries(
    chassis: Chassis, membership: Membership
) -> tuple[FlowEntry, ...]:
    """The chassis does nothing with resets."""
    return ()


#: A switch's bucket tables: the one in force, then those of earlier states, the latest
#: first; one that it had not is empty.
Tables = tuple[BucketTable, ...]


@dataclass(frozen=True)
class TableHistory:
    """What a policy adds that goes by the bucket tables too; pure functions.

    ``versions``: of how many earlier states it wants to know the tables.
    """

    versions: int
    fabric_entries: Callable[[Plan, Membership, Tables], tuple[FlowEntry, ...]]
    chassis_entries: Callable[[Chassis, Membership, Tables], tuple[FlowEntry, ...]]


@dataclass(frozen=True)
class ResetPolicy:
    """What happens when a segment reaches a node that does not recognise it.

    ``promises``: what a run under it must show, something at least.
    ``guard_answers``: whether nodes answer such a segment with a reset (E2), or are
    silent. ``fabric_entries`` and ``chassis_entries``: the flow entries that the policy
    adds to each tier's pipeline; pure functions. ``table_history``: those that depend on what
    the bucket tables are and were. ``excludes_origin``: no copy goes to the
    node that sent the reset. ``resets_at_event``: as soon as the switches have a new
    table, the nodes reset those of their connections that it leads elsewhere.
    ``pins``: switches learn each connection's member, so that it keeps it.
    ``preserves_moved``: a connection outlives, on its old owner, the loss of its bucket.
    ``redirects_strays``: a guard sends a stray to its connection's earlier owner first.
    ``traps_resets``: the controller is sent the resets and tells the nodes' guards.
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
        """Raises :class:`ValueError` for a policy of which nothing could be expected."""
        if not self.promises:
            raise ValueError(f"{self.name}: a policy promises something")
