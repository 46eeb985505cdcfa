"""Definitions for both tiers' flow tables: numbers, priorities, matches, actions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from controller.flows.entries import (
    UNTAGGED,
    WHOLE,
    Action,
    Field,
    Masked,
    Move,
    Output,
    SetField,
    Value,
)
from topologies.domain.hashing import ETH_TYPE, IPPROTO_TCP
from topologies.domain.plan import (
    GATEWAY_MAC,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
    Node,
    client_address,
)


class Table(IntEnum):
    """The flow tables of a switch; both tiers have the same ones.

    ===== ============== ================================= =========================
    table name           fabric (tier 1)                   chassis (tier 2)
    ===== ============== ================================= =========================
    0     ADMIT          direction of a frame; frames that the port may not send are
                         dropped
    1     BALANCE        hash of the connection -> bucket, each tier with its own
                         basis
    2     BUCKET         bucket -> chassis                 bucket -> node
    3     RETURN         segment -> its client             segment -> the fabric
    4     FANOUT         addresses swapped, a copy to      a copy to every live node
                         every live chassis (E3, E4)       (E5)
    5     ARP            reply with the VIP's MAC          reply with the gateway's
                                                           MAC, for every address
    6     REIGN          time -> the bucket table that was in force just before it
    7     PREVIOUS_OWNER bucket in an earlier table -> its member
    8     COPY           a copy to that member, unless one was sent already
    9     PIN_LOOKUP     look the connection up in table LEARNED
    10    PIN_LEARN      learn the connection's member
    11    PIN_OUTPUT     member -> output to it, if it is reachable
    12    LATER          -                                 the later of two times
    13    STEP           -                                 deliver a stray, or ask on
    14    MEMBER         member -> output to it, or ask on
    15    ECHO           echo request -> a number, by its addresses
    16    ECHO_MEMBER    number -> chassis                 number -> node
    17    ICMP_ERROR     one to every live chassis         -
    20    LEARNED        connection -> member; written by the switch itself
    ===== ============== ================================= =========================
    """

    ADMIT = 0
    BALANCE = 1
    BUCKET = 2
    RETURN = 3
    FANOUT = 4
    ARP = 5
    REIGN = 6
    PREVIOUS_OWNER = 7
    COPY = 8
    PIN_LOOKUP = 9
    PIN_LEARN = 10
    PIN_OUTPUT = 11
    LATER = 12
    STEP = 13
    MEMBER = 14
    ECHO = 15
    ECHO_MEMBER = 16
    ICMP_ERROR = 17
    LEARNED = 20


#: Register that holds the port of the member that a connection is pinned to.
PINNED_PORT = Field.REG1


class Priority(IntEnum):
    """Priority of an entry: of those that match, the highest is used."""

    DEFAULT = 0
    NORMAL = 100
    #: An unexpected fan-out mark: the frame is dropped, not handled as a segment.
    MARKED = 200
    #: Entries of a reset policy: above all others.
    POLICY = 300


@dataclass(frozen=True)
class Icmp:
    """The numbers of ICMP (RFC 792) or ICMPv6 (RFC 4443) that the switches know.

    ``errors``: the types that tell a sender that its packets do not arrive: unreachable
    (with IPv4, "fragmentation needed" is a code of it) and packet too big.
    """

    protocol: int
    type_field: Field
    echo_request: int
    echo_reply: int
    errors: tuple[int, ...]


@dataclass(frozen=True)
class AddressFamily:
    """The differences between IPv4 and IPv6 in matches and actions."""

    version: int
    source: Field
    destination: Field
    address_bits: int
    vip: str
    control: Icmp

    @property
    def tcp(self) -> dict[Field, Value]:
        """Match of an untagged, unfragmented TCP segment."""
        return self._whole(IPPROTO_TCP)

    def icmp(self, kind: int) -> dict[Field, Value]:
        """Match of an untagged, unfragmented ICMP message of that type."""
        return {**self._whole(self.control.protocol), self.control.type_field: kind}

    def _whole(self, protocol: int) -> dict[Field, Value]:
        return {
            Field.VLAN_TCI: UNTAGGED,
            Field.ETH_TYPE: ETH_TYPE[self.version],
            Field.IP_FRAG: WHOLE,
            Field.IP_PROTO: protocol,
        }


_ICMP = Icmp(1, Field.ICMP_TYPE, echo_request=8, echo_reply=0, errors=(3,))
_ICMPV6 = Icmp(58, Field.ICMPV6_TYPE, echo_request=128, echo_reply=129, errors=(1, 2))

IPV4 = AddressFamily(4, Field.IP_SRC, Field.IP_DST, 32, VIP4, _ICMP)
IPV6 = AddressFamily(6, Field.IPV6_SRC, Field.IPV6_DST, 128, VIP6, _ICMPV6)
ADDRESS_FAMILIES = (IPV4, IPV6)

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10

#: ``tcp_flags`` of a "not recognised" reset. The stray segment carried an ACK, so the
#: reset takes its sequence number from there and has no ACK flag itself (RFC 9293,
#: 3.10.7.1). An application's abort and a refused SYN are RST|ACK.
NOT_RECOGNISED = Masked(_RST, _FIN | _SYN | _RST | _ACK)


def deliver_to(client: Client) -> tuple[Action, ...]:
    """Actions that deliver a segment to a client, with the VIP's MAC as source."""
    return (
        SetField(Field.ETH_SRC, VIP_MAC),
        SetField(Field.ETH_DST, client.mac),
        Output(client.fabric_port),
    )


def to_node(node: Node) -> tuple[Action, ...]:
    """Actions that deliver a segment to a node, with the gateway's MAC as source.

    A guard answers a frame by swapping its MACs, so the answer goes to the chassis too.
    """
    return (
        SetField(Field.ETH_SRC, GATEWAY_MAC),
        SetField(Field.ETH_DST, node.mac),
        Output(node.port),
    )


def to_client(client: Client, family: AddressFamily) -> dict[Field, Value]:
    """Match of segments to a client, in table RETURN."""
    return {
        Field.ETH_TYPE: ETH_TYPE[family.version],
        Field.IP_PROTO: IPPROTO_TCP,
        family.destination: client_address(client, family.version),
    }


def swap(one: Field, other: Field, bits: int) -> tuple[Action, ...]:
    """Actions that exchange two fields through a register."""
    return (
        Move(one, Field.REG0, bits),
        Move(other, one, bits),
        Move(Field.REG0, other, bits),
    )
