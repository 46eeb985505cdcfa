"""The vocabulary of both tiers' flow tables: numbers, priorities, matches and actions."""

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

    ===== ========= ==================================== ===========================
    table name      fabric (tier 1)                      chassis (tier 2)
    ===== ========= ==================================== ===========================
    0     ADMIT     which way a frame is going; what is not what its port may send
                    is dropped
    1     BALANCE   hash of the connection -> bucket, each tier with its own basis
    2     BUCKET    bucket -> chassis                    bucket -> node
    3     RETURN    segment -> its client                segment -> the fabric
    4     FANOUT    addresses swapped, a copy to every   a copy to every live node
                    live chassis (E3, E4)                (E5)
    5     ANSWER    ARP: the VIP's MAC                   ARP: the gateway's MAC,
                                                         whatever is asked for
    7     PAST      bucket of the n-th table back -> who had it
    8     COPY      a copy to that member, unless it has been sent one
    9     RECALL    is the connection pinned? (table LEARNED)
    10    PIN       the connection's member is learned
    11    PINNED    member -> the way to it, if it can be reached
    20    LEARNED   connection -> member; the switch writes it itself
    ===== ========= ==================================== ===========================
    """

    ADMIT = 0
    BALANCE = 1
    BUCKET = 2
    RETURN = 3
    FANOUT = 4
    ARP = 5
    PREVIOUS_OWNER = 7
    COPY = 8
    PIN_LOOKUP = 9
    PIN_LEARN = 10
    PIN_OUTPUT = 11
    LEARNED = 20


#: Where the port of the member that a connection is pinned to is kept.
PINNED_PORT = Field.REG1


class Priority(IntEnum):
    """Which of the entries that match a frame is taken: the highest."""

    DEFAULT = 0
    NORMAL = 100
    #: A fan-out mark where none is expected is dropped, never taken for a segment.
    MARKED = 200
    #: What a reset policy adds: it goes before everything else.
    POLICY = 300


@dataclass(frozen=True)
class AddressFamily:
    """What is different between IPv4 and IPv6 in a match or an action."""

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

#: ``tcp_flags`` of a reset that says "not recognised". The segment it answers carried
#: an ACK, so it takes its sequence number from there and has no ACK flag itself (RFC
#: 9293, 3.10.7.1). An application's abort and a refused SYN are RST|ACK.
NOT_RECOGNISED = Masked(_RST, _FIN | _SYN | _RST | _ACK)


def deliver_to(client: Client) -> tuple[Action, ...]:
    """Actions that hand a segment to a client, as if the VIP were its neighbour."""
    return (
        SetField(Field.ETH_SRC, VIP_MAC),
        SetField(Field.ETH_DST, client.mac),
        Output(client.fabric_port),
    )


def to_node(node: Node) -> tuple[Action, ...]:
    """Actions that hand a segment to a node. The chassis is the nodes' gateway in both
    directions: whoever answers a frame by swapping its addresses, as a guard does,
    answers by way of it."""
    return (
        SetField(Field.ETH_SRC, GATEWAY_MAC),
        SetField(Field.ETH_DST, node.mac),
        Output(node.port),
    )


def to_client(client: Client, family: AddressFamily) -> dict[Field, Value]:
    """Match, in table RETURN, of what is addressed to a client."""
    return {
        Field.ETH_TYPE: ETH_TYPE[family.version],
        Field.IP_PROTO: IPPROTO_TCP,
        family.destination: client_address(client, family.version),
    }


def swap(one: Field, other: Field, bits: int) -> tuple[Action, ...]:
    """Actions that exchange two fields by way of a register."""
    return (
        Move(one, Field.REG0, bits),
        Move(other, one, bits),
        Move(Field.REG0, other, bits),
    )
