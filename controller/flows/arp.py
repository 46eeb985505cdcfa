"""ARP replies that the switch makes from the request.

There is no such reply for IPv6 neighbour discovery: Open vSwitch's kernel datapath can
rewrite neither an ICMPv6 type nor an advertisement's flags (``OFPBAC_BAD_SET_ARGUMENT``;
``struct ovs_key_nd`` has no such fields). So hosts have permanent IPv6 neighbour entries
(:mod:`topologies.hosts`), and the flow tables are the same on every datapath.
"""

from __future__ import annotations

from controller.flows.entries import (
    IN_PORT,
    UNTAGGED,
    Action,
    Field,
    FlowEntry,
    Move,
    Output,
    SetField,
    Value,
)
from controller.flows.flow_tables import Priority, Table, swap

_ETH_TYPE_ARP = 0x0806
_ARP_REQUEST, _ARP_REPLY = 1, 2


def request_match(port: int, mac: str) -> dict[Field, Value]:
    """Match of an ARP request that the host with ``mac`` on ``port`` may send."""
    return {
        Field.IN_PORT: port,
        Field.VLAN_TCI: UNTAGGED,
        Field.ETH_SRC: mac,
        Field.ETH_TYPE: _ETH_TYPE_ARP,
        Field.ARP_OP: _ARP_REQUEST,
        Field.ARP_SHA: mac,
    }


def reply_entry(mac: str, whose: str) -> FlowEntry:
    """The entry that answers every admitted ARP request with ``mac``."""
    return FlowEntry.of(
        Table.ARP,
        Priority.NORMAL,
        {Field.ETH_TYPE: _ETH_TYPE_ARP},
        _arp_reply(mac),
        f"ARP: {whose} MAC",
    )


def _arp_reply(mac: str) -> tuple[Action, ...]:
    return (
        Move(Field.ETH_SRC, Field.ETH_DST, 48),
        SetField(Field.ETH_SRC, mac),
        SetField(Field.ARP_OP, _ARP_REPLY),
        *swap(Field.ARP_SPA, Field.ARP_TPA, 32),
        Move(Field.ARP_SHA, Field.ARP_THA, 48),
        SetField(Field.ARP_SHA, mac),
        Output(IN_PORT),
    )
