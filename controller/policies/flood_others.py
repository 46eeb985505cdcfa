"""As flood, but no copy goes to the node that sent the reset: it has no such socket.

The tier-1 copies carry that node's MAC as Ethernet destination. So its chassis can leave
it out, and no tier keeps state for it (US 11,190,580 B2, claim 3).
"""

from __future__ import annotations

from controller.flows.entries import Field, FlowEntry, Move, Output
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
)
from controller.policies.fan_out import (
    client_reset,
    copies_to,
    from_loop,
    swap_and_mark,
    tier1_copy_entries,
)
from controller.policies.policy import ResetPolicy
from controller.policies.promise import CLAIM
from controller.policies.questions import OnStray, Travel
from topologies.domain.membership import Membership
from topologies.domain.plan import LOOP_OUT_PORT, Chassis, Client, Node, Plan

_MAC_BITS = 48


def fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """The client's reset, then one copy to each live chassis, with the origin's MAC."""
    resets = (_reset(c, family) for c in plan.clients for family in ADDRESS_FAMILIES)
    chassis = membership.reachable_chassis(plan)
    copies = (
        entry
        for family in ADDRESS_FAMILIES
        for entry in (from_loop(family), _tier1_copies(chassis, family))
    )
    return (*resets, *copies)


def chassis_entries(chassis: Chassis, membership: Membership) -> tuple[FlowEntry, ...]:
    """Copies to every live node except the one whose MAC is the destination."""
    nodes = membership.reachable_nodes(chassis)
    others = (_copies(chassis, nodes, left_out) for left_out in (None, *nodes))
    return (*tier1_copy_entries(), *others)


def _reset(client: Client, family: AddressFamily) -> FlowEntry:
    """As for flood, but the frame into the loop has the node's own MAC as source."""
    onward = (Move(Field.METADATA, Field.ETH_SRC, _MAC_BITS), Output(LOOP_OUT_PORT))
    entry = client_reset(client, family, onward, "through the loop with its origin")
    keep = Move(Field.ETH_SRC, Field.METADATA, _MAC_BITS)
    return FlowEntry(
        entry.table, entry.priority, entry.match, (keep, *entry.actions), entry.name
    )


def _tier1_copies(chassis: tuple[Chassis, ...], family: AddressFamily) -> FlowEntry:
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        family.tcp,
        (
            Move(Field.ETH_SRC, Field.ETH_DST, _MAC_BITS),
            *swap_and_mark(family),
            *(Output(c.fabric_port) for c in chassis),
        ),
        f"tier-1 copies with their origin (IPv{family.version})",
    )


def _copies(
    chassis: Chassis, nodes: tuple[Node, ...], left_out: Node | None
) -> FlowEntry:
    others = tuple(node for node in nodes if node != left_out)
    if left_out is None:
        match, target = {}, f"the live nodes of {chassis.name}"
    else:
        match = {Field.ETH_DST: left_out.mac}
        target = f"the live nodes of {chassis.name} but {left_out.name}"
    priority = Priority.NORMAL if left_out is None else Priority.POLICY
    return FlowEntry.of(
        Table.FANOUT, priority, match, copies_to(others), f"tier-2 copies to {target}"
    )


FLOOD_OTHERS = ResetPolicy(
    name="flood-others",
    summary="as flood, but no copy goes to the node that sent the reset",
    on_stray=OnStray.RESET,
    travel=Travel.TO_OTHERS,
    promises=CLAIM,
    fabric_entries=fabric_entries,
    chassis_entries=chassis_entries,
)
