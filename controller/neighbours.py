"""ARP and IPv6 neighbour answers, made by the switch out of the question itself."""

from __future__ import annotations

from controller.flows import (
    IN_PORT,
    UNTAGGED,
    Action,
    Field,
    FlowEntry,
    GoTo,
    Move,
    Output,
    SetField,
    Value,
)
from controller.tables import Priority, Table, swap

_ETH_TYPE_ARP = 0x0806
_ETH_TYPE_IPV6 = 0x86DD
_IPPROTO_ICMPV6 = 58
_ARP_REQUEST, _ARP_REPLY = 1, 2
_SOLICITATION, _ADVERTISEMENT = 135, 136
#: RFC 4861, 4.4: the S flag (a solicited answer) and the O flag (override the cache).
_SOLICITED_OVERRIDE = 0x60000000
_TARGET_LINK_LAYER_ADDRESS = 2


def arp_request(port: int, mac: str) -> dict[Field, Value]:
    """Match of an ARP request that the host with ``mac`` on ``port`` may send."""
    return {
        Field.IN_PORT: port,
        Field.VLAN_TCI: UNTAGGED,
        Field.ETH_SRC: mac,
        Field.ETH_TYPE: _ETH_TYPE_ARP,
        Field.ARP_OP: _ARP_REQUEST,
        Field.ARP_SHA: mac,
    }


def solicitation(port: int, mac: str) -> dict[Field, Value]:
    """Match of a neighbour solicitation that the host with ``mac`` may send.

    It is known by its source link-layer address option, not by its IPv6 source:
    Linux probes a neighbour it knows from its link-local address (``ndisc_solicit``).
    Duplicate address detection has no such option (RFC 4861, 4.3), and rightly gets
    no answer.
    """
    return {
        Field.IN_PORT: port,
        Field.VLAN_TCI: UNTAGGED,
        Field.ETH_SRC: mac,
        Field.ETH_TYPE: _ETH_TYPE_IPV6,
        Field.IP_PROTO: _IPPROTO_ICMPV6,
        Field.ICMPV6_TYPE: _SOLICITATION,
        Field.ND_SLL: mac,
    }


def answers(mac: str, whose: str) -> tuple[FlowEntry, ...]:
    """Entries that send every admitted question back with ``mac`` as the answer."""
    return (
        FlowEntry.of(
            Table.ANSWER,
            Priority.ORDINARY,
            {Field.ETH_TYPE: _ETH_TYPE_ARP},
            _arp_reply(mac),
            f"ARP: {whose} MAC",
        ),
        FlowEntry.of(
            Table.ANSWER,
            Priority.ORDINARY,
            _icmpv6(_SOLICITATION),
            # OVS lets nd_tll be written only to what is an advertisement already.
            (
                SetField(Field.ICMPV6_TYPE, _ADVERTISEMENT),
                GoTo(Table.ADVERTISE),
            ),
            "neighbour solicitation becomes an advertisement",
        ),
        FlowEntry.of(
            Table.ADVERTISE,
            Priority.ORDINARY,
            _icmpv6(_ADVERTISEMENT),
            _advertisement(mac),
            f"neighbour advertisement: {whose} MAC",
        ),
    )


def _icmpv6(kind: int) -> dict[Field, Value]:
    return {
        Field.ETH_TYPE: _ETH_TYPE_IPV6,
        Field.IP_PROTO: _IPPROTO_ICMPV6,
        Field.ICMPV6_TYPE: kind,
    }


def _arp_reply(mac: str) -> tuple[Action, ...]:
    return (
        *_back_to_sender(mac),
        SetField(Field.ARP_OP, _ARP_REPLY),
        *swap(Field.ARP_SPA, Field.ARP_TPA, 32),
        Move(Field.ARP_SHA, Field.ARP_THA, 48),
        SetField(Field.ARP_SHA, mac),
        Output(IN_PORT),
    )


def _advertisement(mac: str) -> tuple[Action, ...]:
    """RFC 4861, 7.2.4: from the target, to the asker, with the target's address."""
    return (
        *_back_to_sender(mac),
        Move(Field.IPV6_SRC, Field.IPV6_DST, 128),
        Move(Field.ND_TARGET, Field.IPV6_SRC, 128),
        SetField(Field.ND_RESERVED, _SOLICITED_OVERRIDE),
        SetField(Field.ND_OPTIONS_TYPE, _TARGET_LINK_LAYER_ADDRESS),
        SetField(Field.ND_TLL, mac),
        Output(IN_PORT),
    )


def _back_to_sender(mac: str) -> tuple[Action, ...]:
    return (
        Move(Field.ETH_SRC, Field.ETH_DST, 48),
        SetField(Field.ETH_SRC, mac),
    )
