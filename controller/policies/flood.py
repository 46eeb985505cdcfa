"""The claim: the client is reset first, then a copy of the reset goes to every node."""

from __future__ import annotations

from controller.flows import Action, Field, FlowEntry, GoTo, Move, Output, SetField
from controller.membership import Membership
from controller.policies.policy import ResetPolicy
from controller.tables import (
    FAMILIES,
    NOT_RECOGNISED,
    Family,
    Priority,
    Table,
    deliver_to,
    swap,
    to_client,
)
from topologies.plan import (
    FANOUT_MAC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    VIP_MAC,
    Chassis,
    Client,
    Node,
    Plan,
)


def fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """E2, then E3 and E4: the client's own reset, then one copy to each live chassis.

    They are in the way of nothing but a segment that a chassis sent (table RETURN),
    so no packet of a client can set them off, whatever it forges.
    """
    resets = (_reset(client, family) for client in plan.clients for family in FAMILIES)
    chassis = membership.reachable_chassis(plan)
    copies = (e for family in FAMILIES for e in _further_resets(chassis, family))
    return (*resets, *copies)


def chassis_entries(chassis: Chassis, membership: Membership) -> tuple[FlowEntry, ...]:
    """E5: what carries the mark goes to every live node, once, and nowhere else."""
    admitted = (_marked(family) for family in FAMILIES)
    return (*admitted, _tier2_copies(chassis, membership.reachable_nodes(chassis)))


def _reset(client: Client, family: Family) -> FlowEntry:
    return FlowEntry.of(
        Table.RETURN,
        Priority.RESET,
        {**to_client(client, family), Field.TCP_FLAGS: NOT_RECOGNISED},
        (*deliver_to(client), Output(LOOP_OUT_PORT)),
        f"reset for {client.name} (IPv{family.version}): to it, then round the loop",
    )


def _further_resets(
    chassis: tuple[Chassis, ...], family: Family
) -> tuple[FlowEntry, FlowEntry]:
    """One copy to each chassis, addressed as if the client had sent it.

    They are made of what comes back through the loop, so after the client's reset is
    on its way. The chassis that the reset came from gets a copy too: the half-open
    connection may be there.
    """
    came_back = FlowEntry.of(
        Table.ADMIT,
        Priority.RESET,
        {
            **family.tcp,
            Field.IN_PORT: LOOP_IN_PORT,
            family.source: family.vip,
            Field.TCP_FLAGS: NOT_RECOGNISED,
        },
        (GoTo(Table.FANOUT),),
        f"reset that came round the loop (IPv{family.version})",
    )
    copies = FlowEntry.of(
        Table.FANOUT,
        Priority.RESET,
        family.tcp,
        (
            Move(family.destination, family.source, family.address_bits),
            SetField(family.destination, family.vip),
            *swap(Field.TCP_SRC, Field.TCP_DST, 16),
            SetField(Field.ETH_SRC, FANOUT_MAC),
            SetField(Field.ETH_DST, VIP_MAC),
            *(Output(c.fabric_port) for c in chassis),
        ),
        f"tier-1 copies (IPv{family.version})",
    )
    return came_back, copies


def _marked(family: Family) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: UPLINK_PORT,
        Field.ETH_SRC: FANOUT_MAC,
        Field.ETH_DST: VIP_MAC,
        family.destination: family.vip,
        Field.TCP_FLAGS: NOT_RECOGNISED,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.RESET,
        match,
        (GoTo(Table.FANOUT),),
        f"tier-1 copy from the fabric (IPv{family.version})",
    )


def _tier2_copies(chassis: Chassis, nodes: tuple[Node, ...]) -> FlowEntry:
    copies: list[Action] = []
    for node in nodes:
        copies += [SetField(Field.ETH_DST, node.mac), Output(node.port)]
    return FlowEntry.of(
        Table.FANOUT,
        Priority.RESET,
        {},
        tuple(copies),
        f"tier-2 copies to the live nodes of {chassis.name}",
    )


FLOOD = ResetPolicy(
    name="flood",
    summary="the claim: the client, then every chassis, then every node is reset",
    guard_answers=True,
    fabric_entries=fabric_entries,
    chassis_entries=chassis_entries,
)
