"""A reset policy: what nodes and switches do with a stray segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.flows.entries import FlowEntry
from controller.policies.promise import Promise
from controller.policies.questions import AtEvent, Memory, OnStray, Travel
from topologies.domain.history import Timeline
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


@dataclass(frozen=True)
class TableHistory:
    """A policy's flow entries that depend on the bucket tables; pure functions.

    ``changes``: how many changes of one bucket it remembers. Each function gets its
    switch's own last tables, with the times at which they came into force: no event
    elsewhere pushes anything out.
    """

    changes: int
    fabric_entries: Callable[[Plan, Membership, Timeline], tuple[FlowEntry, ...]]
    chassis_entries: Callable[[Chassis, Membership, Timeline], tuple[FlowEntry, ...]]


@dataclass(frozen=True)
class ResetPolicy:
    """How nodes and switches handle a stray segment: the answers to four questions.

    ``on_stray``, ``travel``, ``memory``, ``at_event``: see
    :mod:`controller.policies.questions`. ``promises``: what a run with this policy must
    show; at least one. ``fabric_entries`` and ``chassis_entries``: the flow entries that
    the policy adds to each tier; pure functions. ``table_history``: those that depend on
    current and earlier bucket tables. ``extra_packages``: whether ``setup.cfg`` lists packages
    that only this policy needs (``NAME_packages``).
    """

    name: str
    summary: str
    on_stray: OnStray
    promises: frozenset[Promise]
    travel: Travel = Travel.TO_CLIENT
    memory: Memory = Memory.CURRENT_TABLES
    at_event: AtEvent = AtEvent.NOBODY
    fabric_entries: Callable[[Plan, Membership], tuple[FlowEntry, ...]] = (
        no_fabric_entries
    )
    chassis_entries: Callable[[Chassis, Membership], tuple[FlowEntry, ...]] = (
        no_chassis_entries
    )
    table_history: TableHistory | None = None
    extra_packages: bool = False

    def __post_init__(self) -> None:
        """Raises :class:`ValueError` for a policy without a promise, or one that needs
        bucket tables and remembers none."""
        if not self.promises:
            raise ValueError(f"{self.name}: a policy promises something")
        if (self.table_history is None) != (self.memory is Memory.CURRENT_TABLES):
            raise ValueError(
                f"{self.name}: table_history is for a memory, and needs one"
            )

    @property
    def sends_copies(self) -> bool:
        """Whether nodes are told of a reset. Then half-open connections are healed too,
        if nothing else is asked for."""
        return self.travel is not Travel.TO_CLIENT

    @property
    def pins(self) -> bool:
        """Whether switches remember the members of connections, in flow entries."""
        return self.memory in (Memory.CONNECTIONS, Memory.MOVABLE)

    @property
    def preserves_moved(self) -> bool:
        """Whether a connection can keep its old owner after its bucket has moved."""
        redirects = self.on_stray is OnStray.REDIRECT
        return redirects or self.pins
