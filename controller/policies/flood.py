"""The claim: the client is reset first, then every node gets a copy of the reset."""

from __future__ import annotations

from controller.flows.entries import Field, FlowEntry, Output, SetField
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
)
from controller.policies.fan_out import (
    copies_to,
    from_loop,
    reset_then_loop,
    swap_and_mark,
    tier1_copy_entries,
)
from controller.policies.policy import ResetPolicy
from controller.policies.promise import CLAIM
from controller.policies.questions import OnStray, Travel
from topologies.domain.membership import Membership
from topologies.domain.plan import VIP_MAC, Chassis, Node, Plan


def fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """E2, then E3 and E4: the client's own reset, then one copy to each live chassis.

    The chassis that sent the reset gets a copy too: the half-open connection may be
    there.
    """
    resets = (
        reset_then_loop(c, family) for c in plan.clients for family in ADDRESS_FAMILIES
    )
    chassis = membership.reachable_chassis(plan)
    copies = (
        entry
        for family in ADDRESS_FAMILIES
        for entry in (from_loop(family), _tier1_copies(chassis, family))
    )
    return (*resets, *copies)


def chassis_entries(chassis: Chassis, membership: Membership) -> tuple[FlowEntry, ...]:
    """E5: a marked frame goes to every live node once, and to no other port."""
    nodes = membership.reachable_nodes(chassis)
    return (*tier1_copy_entries(VIP_MAC), _tier2_copies(chassis, nodes))


def _tier1_copies(chassis: tuple[Chassis, ...], family: AddressFamily) -> FlowEntry:
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        family.tcp,
        (
            *swap_and_mark(family),
            SetField(Field.ETH_DST, VIP_MAC),
            *(Output(c.fabric_port) for c in chassis),
        ),
        f"tier-1 copies (IPv{family.version})",
    )


def _tier2_copies(chassis: Chassis, nodes: tuple[Node, ...]) -> FlowEntry:
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {},
        copies_to(nodes),
        f"tier-2 copies to the live nodes of {chassis.name}",
    )


FLOOD = ResetPolicy(
    name="flood",
    summary="the claim: the client, then every chassis, then every node is reset",
    on_stray=OnStray.RESET,
    travel=Travel.TO_ALL,
    promises=CLAIM,
    fabric_entries=fabric_entries,
    chassis_entries=chassis_entries,
)
