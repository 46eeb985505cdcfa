"""Flow entries and actions that the fan-out policies share, at both tiers."""

from __future__ import annotations

from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Move,
    Output,
    SetField,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    NOT_RECOGNISED,
    AddressFamily,
    Priority,
    Table,
    deliver_to,
    swap,
    to_client,
)
from topologies.domain.plan import (
    FANOUT_MAC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    VIP_MAC,
    Client,
    Node,
)


def client_reset(
    client: Client, family: AddressFamily, onward: tuple[Action, ...], purpose: str
) -> FlowEntry:
    """E2 at the fabric: the reset goes to its client, and then ``onward``.

    It matches only segments that a chassis sent (table RETURN), so no packet of a client
    can match it, not even a forged one.
    """
    return FlowEntry.of(
        Table.RETURN,
        Priority.POLICY,
        {**to_client(client, family), Field.TCP_FLAGS: NOT_RECOGNISED},
        (*deliver_to(client), *onward),
        f"reset for {client.name} (IPv{family.version}): to it, then {purpose}",
    )


def reset_then_loop(client: Client, family: AddressFamily) -> FlowEntry:
    """The reset goes to its client, and through the loop cable to be copied."""
    return client_reset(client, family, (Output(LOOP_OUT_PORT),), "through the loop")


def from_loop(family: AddressFamily) -> FlowEntry:
    """A reset from the loop is copied. Its client's reset has been sent already."""
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            Field.IN_PORT: LOOP_IN_PORT,
            family.source: family.vip,
            Field.TCP_FLAGS: NOT_RECOGNISED,
        },
        (GotoTable(Table.FANOUT),),
        f"reset from the loop (IPv{family.version})",
    )


def swap_and_mark(family: AddressFamily) -> tuple[Action, ...]:
    """Actions that make the client the reset's source, and set the fan-out mark."""
    return (
        Move(family.destination, family.source, family.address_bits),
        SetField(family.destination, family.vip),
        *swap(Field.TCP_SRC, Field.TCP_DST, 16),
        SetField(Field.ETH_SRC, FANOUT_MAC),
    )


def tier1_copy_entries(eth_dst: str | None = None) -> tuple[FlowEntry, ...]:
    """The entries that admit a tier-1 copy from the fabric at a chassis.

    ``eth_dst``: the Ethernet destination of copies. None: any, for policies whose copies
    carry data there.
    """
    return tuple(_tier1_copy_entry(family, eth_dst) for family in ADDRESS_FAMILIES)


def _tier1_copy_entry(family: AddressFamily, eth_dst: str | None) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: UPLINK_PORT,
        Field.ETH_SRC: FANOUT_MAC,
        family.destination: family.vip,
        Field.TCP_FLAGS: NOT_RECOGNISED,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        match if eth_dst is None else {**match, Field.ETH_DST: eth_dst},
        (GotoTable(Table.FANOUT),),
        f"tier-1 copy from the fabric (IPv{family.version})",
    )


def copies_to(nodes: tuple[Node, ...]) -> tuple[Action, ...]:
    """Actions that send one copy to each of those nodes."""
    return tuple(
        action
        for node in nodes
        for action in (SetField(Field.ETH_DST, node.mac), Output(node.port))
    )


def destination_with_same_hash(client: Client, source: str) -> str:
    """The Ethernet destination that gives a frame from ``source`` the hash of the client's
    own frames to the VIP: ``symmetric_l4`` uses the exclusive or of both MACs.

    >>> from topologies.domain.plan import Plan
    >>> destination_with_same_hash(Plan.build().clients[0], FANOUT_MAC)
    '02:01:00:00:00:0f'
    """
    number = _mac(client.mac) ^ _mac(VIP_MAC) ^ _mac(source)
    return number.to_bytes(6, "big").hex(":")


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)
