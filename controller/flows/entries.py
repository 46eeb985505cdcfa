"""Flow entries as plain data, printed in the syntax of ovs-ofctl(8).

Only the match fields and actions that the pipeline needs exist. Others can be neither
installed nor simulated. ``str(entry)`` is what ``ovs-ofctl add-flow`` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple


class Field(str, Enum):
    """A field of ovs-fields(7), by its name there, in printing order."""

    IN_PORT = "in_port"
    METADATA = "metadata"
    REG0 = "reg0"
    REG1 = "reg1"
    REG2 = "reg2"
    REG3 = "reg3"
    REG4 = "reg4"
    REG5 = "reg5"
    REG6 = "reg6"
    REG7 = "reg7"
    REG8 = "reg8"
    REG9 = "reg9"
    REG10 = "reg10"
    REG11 = "reg11"
    REG12 = "reg12"
    REG13 = "reg13"
    REG14 = "reg14"
    REG15 = "reg15"
    VLAN_TCI = "vlan_tci"
    ETH_SRC = "eth_src"
    ETH_DST = "eth_dst"
    ETH_TYPE = "eth_type"
    IP_FRAG = "ip_frag"
    IP_PROTO = "ip_proto"
    IP_SRC = "ip_src"
    IP_DST = "ip_dst"
    IPV6_SRC = "ipv6_src"
    IPV6_DST = "ipv6_dst"
    TCP_SRC = "tcp_src"
    TCP_DST = "tcp_dst"
    TCP_FLAGS = "tcp_flags"
    ICMP_TYPE = "icmp_type"
    ICMPV6_TYPE = "icmpv6_type"
    ARP_OP = "arp_op"
    ARP_SPA = "arp_spa"
    ARP_TPA = "arp_tpa"
    ARP_SHA = "arp_sha"
    ARP_THA = "arp_tha"


class Masked(NamedTuple):
    """A value of which only the bits in ``mask`` are compared."""

    value: int
    mask: int


class MaskedMac(NamedTuple):
    """A MAC of which only the bits in ``mask`` are compared; both as text."""

    value: str
    mask: str


#: A number, an address as text, or one of them masked.
Value = int | str | Masked | MaskedMac

#: ``vlan_tci``: no 802.1Q tag.
UNTAGGED = Masked(0x0000, 0x1FFF)
#: ``ip_frag``: an unfragmented packet.
WHOLE = Masked(0, 3)
#: ``tcp_flags``, in the order of their bits.
TCP_FLAG_NAMES = ("fin", "syn", "rst", "psh", "ack")
#: Every register, by its number.
REGISTERS = tuple(Field(f"reg{number}") for number in range(16))
#: Port of :class:`Output` that sends a frame back to its ingress port.
IN_PORT = 0xFFFFFFF8

_FIELD_ORDER = {field: position for position, field in enumerate(Field)}
_SHORTHAND = {
    (0x0806, None): "arp",
    (0x0800, 1): "icmp",
    (0x0800, 6): "tcp",
    (0x86DD, 6): "tcp6",
    (0x86DD, 58): "icmp6",
}


@dataclass(frozen=True)
class Output:
    """Send the frame, in its current form, to a port."""

    port: int

    def __str__(self) -> str:
        return "in_port" if self.port == IN_PORT else f"output:{self.port}"


@dataclass(frozen=True)
class ToController:
    """Send the whole frame, in its current form, to the controller in a packet-in."""

    def __str__(self) -> str:
        return "controller:65535"


@dataclass(frozen=True)
class SetField:
    """Write a constant to a field. Writing 0 to ``in_port`` clears the ingress port;
    otherwise the frame is never sent back to it (ovs-actions(7), "output")."""

    field: Field
    value: int | str

    def __str__(self) -> str:
        return f"set_field:{self.value}->{self.field.value}"


@dataclass(frozen=True)
class Move:
    """Copy ``bits`` bits of one field to another.

    They start at bit ``source_bit`` of the one and ``destination_bit`` of the other,
    counted from the lowest.
    """

    source: Field
    destination: Field
    bits: int
    source_bit: int = 0
    destination_bit: int = 0

    def __str__(self) -> str:
        first = f"{self.source.value}{_span(self.source_bit, self.bits)}"
        second = f"{self.destination.value}{_span(self.destination_bit, self.bits)}"
        return f"move:{first}->{second}"


@dataclass(frozen=True)
class Multipath:
    """``register := symmetric_l4 hash % buckets``; see :mod:`topologies.domain.hashing`."""

    basis: int
    buckets: int
    register: Field = Field.REG0

    def __str__(self) -> str:
        return (
            f"multipath(symmetric_l4,{self.basis},modulo_n,{self.buckets},0,"
            f"{self.register.value}[0..15])"
        )


@dataclass(frozen=True)
class SetBit:
    """Set one bit of a register, counted from the lowest."""

    register: Field
    bit: int

    def __str__(self) -> str:
        return f"load:1->{self.register.value}[{self.bit}]"


@dataclass(frozen=True)
class Meter:
    """Drop the frame if there are too many: ``rate`` a second pass on average, and ``burst``
    at once.

    All entries with the same ``number`` share one meter of the switch. Always the first
    action (OpenFlow 1.4, 5.9: an instruction, executed before all actions).
    """

    number: int
    rate: int
    burst: int

    def __str__(self) -> str:
        return f"meter:{self.number}"


@dataclass(frozen=True)
class Resubmit:
    """Execute another table, then continue with the next action."""

    table: int

    def __str__(self) -> str:
        return f"resubmit(,{int(self.table)})"


@dataclass(frozen=True)
class GotoTable:
    """Continue in a later table. Always the last action."""

    table: int

    def __str__(self) -> str:
        return f"goto_table:{int(self.table)}"


@dataclass(frozen=True)
class Learn:
    """Install an entry in ``table`` for later segments from the same address and port to
    the same port. It writes the present value of ``register`` into that register.

    ``eth_type`` and ``address`` are those of the IP version. The entry is removed when
    the sender has sent FIN or RST and then nothing for ``after_end_s`` seconds, and else
    after ``idle_s`` seconds without a segment (ovs-actions(7), "learn").
    """

    table: int
    eth_type: int
    address: Field
    address_bits: int
    register: Field
    after_end_s: int
    idle_s: int

    def __str__(self) -> str:
        register = self.register.value
        return (
            f"learn(table={int(self.table)},idle_timeout={self.idle_s},"
            f"fin_idle_timeout={self.after_end_s},"
            f"eth_type={self.eth_type:#x},nw_proto=6,{self.address.value}[],"
            f"tcp_src[],tcp_dst[],load:{register}[]->{register}[])"
        )


Action = (
    Output
    | ToController
    | SetField
    | Move
    | Multipath
    | SetBit
    | Learn
    | Meter
    | Resubmit
    | GotoTable
)


class FlowKey(NamedTuple):
    """Identifies a flow entry in a switch: table, priority, digest of the content."""

    table: int
    priority: int
    cookie: int


@dataclass(frozen=True)
class FlowEntry:
    """One flow entry. Without actions the frame is dropped.

    ``name`` is a description for people. It is not part of the content.
    """

    table: int
    priority: int
    match: tuple[tuple[Field, Value], ...]
    actions: tuple[Action, ...]
    name: str

    @classmethod
    def of(
        cls,
        table: int,
        priority: int,
        match: Mapping[Field, Value],
        actions: tuple[Action, ...],
        name: str,
    ) -> FlowEntry:
        """An entry with that match, its fields in canonical order."""
        ordered = sorted(match.items(), key=lambda item: _FIELD_ORDER[item[0]])
        return cls(int(table), int(priority), tuple(ordered), actions, name)

    @cached_property
    def text(self) -> str:
        """The canonical content in ovs-ofctl syntax: everything but the cookie."""
        match = ",".join((f"priority={self.priority}", *_match_text(dict(self.match))))
        actions = ",".join(str(action) for action in self.actions) or "drop"
        return f"table={self.table}, {match} actions={actions}"

    @cached_property
    def cookie(self) -> int:
        """64-bit digest of the content: equal cookies mean equal entries."""
        digest = blake2b(self.text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    @property
    def key(self) -> FlowKey:
        """The entry's identity in a switch."""
        return FlowKey(self.table, self.priority, self.cookie)

    def __str__(self) -> str:
        return f"cookie={self.cookie:#x}, {self.text}"


def _span(start: int, bits: int) -> str:
    return f"[{start}..{start + bits - 1}]"


def _match_text(match: dict[Field, Value]) -> list[str]:
    """The match in ovs-ofctl syntax, protocol shorthands first."""
    eth_type, protocol = match.get(Field.ETH_TYPE), match.get(Field.IP_PROTO)
    words = []
    shorthand = _SHORTHAND.get((eth_type, protocol))  # type: ignore[arg-type]
    if shorthand:
        words.append(shorthand)
        match = {
            field: value
            for field, value in match.items()
            if field not in (Field.ETH_TYPE, Field.IP_PROTO)
        }
    return words + [f"{f.value}={_value_text(f, v)}" for f, v in match.items()]


def _value_text(field: Field, value: Value) -> str:
    if field is Field.IP_FRAG and value == WHOLE:
        return "no"
    if field is Field.TCP_FLAGS and isinstance(value, Masked):
        return _flags_text(value)
    if isinstance(value, Masked):
        return f"{value.value:#x}/{value.mask:#x}"
    if isinstance(value, MaskedMac):
        return f"{value.value}/{value.mask}"
    return str(value)


def _flags_text(flags: Masked) -> str:
    """``+rst-ack``: flags that must be set and flags that must be clear."""
    return "".join(
        f"{'+' if flags.value & bit else '-'}{name}"
        for bit, name in ((1 << i, name) for i, name in enumerate(TCP_FLAG_NAMES))
        if flags.mask & bit
    )
