"""What a reset policy is: what nodes and switches do about an unrecognised segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.flows import FlowEntry
from controller.membership import Membership
from topologies.plan import Chassis, Plan


def no_fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """The fabric treats a "not recognised" reset as any other segment."""
    return ()


def no_chassis_entries(
    chassis: Chassis, membership: Membership
) -> tuple[FlowEntry, ...]:
    """The chassis does nothing with resets."""
    return ()


@dataclass(frozen=True)
class ResetPolicy:
    """What happens when a segment reaches a node that does not recognise it.

    ``guard_answers``: whether nodes answer such a segment with a reset (E2), or are
    silent. ``fabric_entries`` and ``chassis_entries``: the flow entries that the policy
    adds to each tier's pipeline; pure functions.
    """

    name: str
    summary: str
    guard_answers: bool
    fabric_entries: Callable[[Plan, Membership], tuple[FlowEntry, ...]] = (
        no_fabric_entries
    )
    chassis_entries: Callable[[Chassis, Membership], tuple[FlowEntry, ...]] = (
        no_chassis_entries
    )
