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
class AddressFamily:
    """The differences between IPv4 and IPv6 in matches and actions."""

    version: int
    source: Field
    destination: Field
    address_bits: int
    vip: str

    @property
    def tcp(self) -> dict[Field, Value]:
        """Match of an untagged, unfragmented TCP segment."""
        return {
            Field.VLAN_TCI: UNTAGGED,
            Field.ETH_TYPE: ETH_TYPE[self.version],
            Field.IP_FRAG: WHOLE,
            Field.IP_PROTO: IPPROTO_TCP,
        }


IPV4 = AddressFamily(4, Field.IP_SRC, Field.IP_DST, 32, VIP4)
IPV6 = AddressFamily(6, Field.IPV6_SRC, Field.IPV6_DST, 128, VIP6)
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
