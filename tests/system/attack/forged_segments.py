"""Kinds of forged frames, as functions of a live connection's numbers and a random source.

An attacker here knows more than one off the path: every 4-tuple, and its numbers as they
were a moment ago. Where a reset with the exact number is meant to end a connection (RFC
9293, 3.10.7.4), and nothing in the network could stop the frame, the number is wrong: it
is drawn at random, or it is an odd distance away. Connections under attack send even
numbers of octets only, so such a number is in the window and never right. All other kinds
have the right numbers, and the network or the node has to refuse them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from nodes.guard.segment import Flags
from tests.nodes.fuzz.raw_frames import checksum, packed, tcp_checksum
from topologies.domain.connection import FourTuple
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP_MAC,
    Client,
)

_TCP = struct.Struct("!HHIIBBHHH")
_IPV4 = struct.Struct("!BBHHHBBH")
_IPV6 = struct.Struct("!IHBB")
_TCP_PROTOCOL, _ICMP4, _ICMP6 = 6, 1, 58
_DONT_FRAGMENT, _MORE_FRAGMENTS = 0x4000, 0x2000
_HOPS = 64
_MODULUS = 1 << 32
#: Distances inside every receive window: Linux's begin with 64 KB (tcp_rmem).
_IN_WINDOW = range(1, 1 << 14, 2)
#: Distances that no window has, 2^30 at most with scaling (RFC 7323, 2.3).
_FAR = range(1 << 30, (1 << 31) - (1 << 16))
#: Source ports of segments of no connection. No client here uses them.
STRAY_PORTS = range(1024, 5120)
#: IPv4 options: no operation, record route, timestamp, a loose source route that
#: has been gone, router alert.
_OPTIONS4 = (
    b"\x01\x01\x01\x00",
    b"\x07\x07\x04" + bytes(4) + b"\x00",
    b"\x44\x08\x05\x00" + bytes(4),
    b"\x83\x07\x08\x0a\x00\x00\x01\x00",
    b"\x94\x04\x00\x00",
)
#: IPv6 extension headers: hop-by-hop, destination options, routing, and the fragment
#: header of a packet that is none (RFC 6946).
_EXTENSIONS6 = (
    (0, b"\x01\x04" + bytes(4)),
    (60, b"\x01\x04" + bytes(4)),
    (43, b"\x04\x00" + bytes(4)),
    (44, b"\x00\x00" + b"\x12\x34\x56\x78"),
)
_R, _RA = Flags.RST, Flags.RST | Flags.ACK
_PA = Flags.PSH | Flags.ACK


@dataclass(frozen=True)
class Target:
    """A live connection, as its server has it: RCV.NXT and SND.NXT, a moment ago."""

    connection: FourTuple
    rcv_nxt: int
    snd_nxt: int


@dataclass(frozen=True)
class Attack:
    """Who attacks what. ``victim`` is the client that has the connections."""

    rng: Random
    target: Target
    victim: Client
    attacker: Client

    @property
    def ends(self) -> bytes:
        """Source and destination addresses of the victim's own segments."""
        return packed(self.target.connection.src) + packed(self.target.connection.dst)

    @property
    def blind(self) -> int:
        """A random number, but never the right one."""
        number = self.rng.getrandbits(32)
        return number if number != self.target.rcv_nxt else number ^ 1

    @property
    def in_window(self) -> int:
        """A sequence number in the server's window that is not RCV.NXT."""
        return after(self.target.rcv_nxt, self.rng.choice(_IN_WINDOW))

    @property
    def wrong_ack(self) -> int:
        """An acknowledgment of what the server has not sent, nor sends soon."""
        return after(self.target.snd_nxt, self.rng.choice(_FAR))


Forge = Callable[[Attack], bytes]


@dataclass(frozen=True)
class Kind:
    """One kind of forged frame. ``next_door``: it leaves the victim's own host, so that
    no check of addresses stops it; else that of the attacker."""

    name: str
    forge: Forge
    next_door: bool = True


def after(number: int, distance: int) -> int:
    """The sequence number at that distance."""
    return (number + distance) % _MODULUS


def tcp_segment(
    ends: bytes,
    ports: tuple[int, int],
    numbers: tuple[int, int],
    flags: int,
    payload: bytes = b"",
    offset: int = 5,
    spoil: int = 0,
) -> bytes:
    """A TCP segment. ``offset``: its data offset, in words. ``spoil``: is added to its
    checksum."""
    size = len(ends) // 2
    fields = (*ports, *numbers, offset << 4, int(flags), 1024)
    plain = _TCP.pack(*fields, 0, 0) + payload
    check = tcp_checksum(ends[:size], ends[size:], plain)
    return _TCP.pack(*fields, (check + spoil) & 0xFFFF, 0) + payload


def packet(
    ends: bytes,
    payload: bytes,
    protocol: int = _TCP_PROTOCOL,
    options: bytes = b"",
    fragment: int = _DONT_FRAGMENT,
) -> bytes:
    """An IP packet. ``options``: IPv4 options, or whole IPv6 extension headers, of which
    the first has number ``protocol``. ``fragment``: IPv4's flags and offset."""
    if len(ends) == 32:
        size = len(options) + len(payload)
        return _IPV6.pack(6 << 28, size, protocol, _HOPS) + ends + options + payload
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    fields = (4 << 4 | words, 0, total, 0x1234, fragment, _HOPS, protocol)
    check = checksum(_IPV4.pack(*fields, 0) + ends + options)
    return _IPV4.pack(*fields, check) + ends + options + payload


def ethernet(source: str, destination: str, content: bytes, tag: bytes = b"") -> bytes:
    """A frame. ``tag``: a VLAN tag."""
    kind = b"\x08\x00" if content[0] >> 4 == 4 else b"\x86\xdd"
    return packed(destination) + packed(source) + tag + kind + content


def _own_segment(
    attack: Attack, numbers: tuple[int, int], flags: int, payload: bytes = b""
) -> bytes:
    """A segment of the victim's connection, as its host would send it."""
    _, sport, _, dport = attack.target.connection
    return tcp_segment(attack.ends, (sport, dport), numbers, flags, payload)


def _next_door(flags: int, numbers: Callable[[Attack], tuple[int, int]]) -> Forge:
    """From the victim's own addresses."""

    def forge(attack: Attack) -> bytes:
        content = packet(attack.ends, _own_segment(attack, numbers(attack), flags))
        return ethernet(attack.victim.mac, VIP_MAC, content)

    return forge


def _with_data(flags: int, numbers: Callable[[Attack], tuple[int, int]]) -> Forge:
    def forge(attack: Attack) -> bytes:
        data = attack.rng.randbytes(16)
        segment = _own_segment(attack, numbers(attack), flags, data)
        return ethernet(attack.victim.mac, VIP_MAC, packet(attack.ends, segment))

    return forge


def _exact_reset(attack: Attack) -> bytes:
    """The segment that ends the connection, if it gets to its server."""
    return _own_segment(attack, (attack.target.rcv_nxt, 0), _R)


def _marked(source: str, destination: str, flags: int) -> Forge:
    """With numbers that fit (:mod:`nodes.guard.verdict`), from the victim's address."""

    def forge(attack: Attack) -> bytes:
        at = attack.target
        # A copy has the stray's numbers swapped; a client's own reset does not.
        copied = source == FANOUT_MAC
        numbers = (at.snd_nxt, at.rcv_nxt) if copied else (at.rcv_nxt, at.snd_nxt)
        content = packet(attack.ends, _own_segment(attack, numbers, flags))
        return ethernet(source or attack.victim.mac, destination, content)

    return forge


def _marked_from_elsewhere(attack: Attack) -> bytes:
    mark = attack.rng.choice((FANOUT_MAC, RELAY_MAC, SECOND_CHANCE_MAC))
    return _marked(mark, VIP_MAC, _R)(attack)


def _of_another_client(attack: Attack) -> bytes:
    """Exact, but the fabric admits a client's own addresses only."""
    source = attack.rng.choice((attack.victim.mac, attack.attacker.mac))
    return ethernet(source, VIP_MAC, packet(attack.ends, _exact_reset(attack)))


def _of_the_vip(attack: Attack) -> bytes:
    """A reset of the server, exact, to the client itself."""
    _, sport, _, dport = attack.target.connection
    half = len(attack.ends) // 2
    ends = attack.ends[half:] + attack.ends[:half]
    numbers = attack.target.snd_nxt, attack.target.rcv_nxt
    segment = tcp_segment(ends, (dport, sport), numbers, attack.rng.choice((_R, _RA)))
    source = attack.rng.choice((attack.attacker.mac, VIP_MAC, GATEWAY_MAC))
    destination = attack.rng.choice((attack.victim.mac, VIP_MAC))
    return ethernet(source, destination, packet(ends, segment))


def _options(attack: Attack) -> bytes:
    """An exact reset with IP options or extension headers, which no guard can read."""
    segment = _exact_reset(attack)
    if len(attack.ends) == 8:
        content = packet(attack.ends, segment, options=attack.rng.choice(_OPTIONS4))
    else:
        number, body = attack.rng.choice(_EXTENSIONS6)
        header = bytes((_TCP_PROTOCOL, 0)) + body
        content = packet(attack.ends, segment, number, header)
    return ethernet(attack.victim.mac, VIP_MAC, content)


def _fragment(attack: Attack) -> bytes:
    """An exact reset in a fragment: the first one, whole or tiny, or a later one."""
    segment = _exact_reset(attack)
    first = attack.rng.random() < 0.7
    if attack.rng.random() < 0.5:
        segment = segment[:8] if first else segment[8:]
    if len(attack.ends) == 8:
        place = _MORE_FRAGMENTS if first else 1
        content = packet(attack.ends, segment, fragment=place)
    else:
        place = 1 if first else 8
        header = struct.pack("!BBHI", _TCP_PROTOCOL, 0, place, 0x12345678)
        content = packet(attack.ends, segment, 44, header)
    return ethernet(attack.victim.mac, VIP_MAC, content)


def _spoiled(attack: Attack) -> bytes:
    """An exact reset with a wrong checksum."""
    at = attack.target
    ports = at.connection.sport, at.connection.dport
    segment = tcp_segment(attack.ends, ports, (at.rcv_nxt, 0), _R, spoil=0x0101)
    return ethernet(attack.victim.mac, VIP_MAC, packet(attack.ends, segment))


def _without_header(attack: Attack) -> bytes:
    """An exact reset that says its header is shorter, or longer, than it can be."""
    at = attack.target
    ports = at.connection.sport, at.connection.dport
    offset = attack.rng.choice((0, 1, 4, 6, 15))
    segment = tcp_segment(attack.ends, ports, (at.rcv_nxt, 0), _R, offset=offset)
    return ethernet(attack.victim.mac, VIP_MAC, packet(attack.ends, segment))


def _tagged(attack: Attack) -> bytes:
    """An exact reset in a VLAN."""
    tag = b"\x81\x00" + struct.pack("!H", attack.rng.randrange(1, 4095))
    content = packet(attack.ends, _exact_reset(attack))
    return ethernet(attack.victim.mac, VIP_MAC, content, tag)


def _icmp_error(attack: Attack) -> bytes:
    """ "Port unreachable" or "too big" about the victim's connection (RFC 5927)."""
    half = len(attack.ends) // 2
    quoted = packet(attack.ends, _exact_reset(attack))
    if half == 4:
        kind = attack.rng.choice((b"\x03\x03", b"\x03\x04"))
        body = struct.pack("!HHH", 0, 0, 68) + quoted[:28]
        check = checksum(kind + body).to_bytes(2, "big")
        content = packet(attack.ends, kind + check + body[2:], _ICMP4)
    else:
        kind = attack.rng.choice((b"\x01\x04", b"\x02\x00"))
        body = struct.pack("!HI", 0, 1280) + quoted
        pseudo = attack.ends + struct.pack("!II", len(kind + body), _ICMP6)
        check = checksum(pseudo + kind + body).to_bytes(2, "big")
        content = packet(attack.ends, kind + check + body[2:], _ICMP6)
    return ethernet(attack.victim.mac, VIP_MAC, content)


def _stray(flags: int, payload: bytes = b"") -> Forge:
    """A segment of no connection, from the attacker's own address."""

    def forge(attack: Attack) -> bytes:
        _, _, vip, dport = attack.target.connection
        own = attack.attacker.ipv4 if ":" not in vip else attack.attacker.ipv6
        ends = packed(own) + packed(vip)
        ports = attack.rng.choice(STRAY_PORTS), dport
        numbers = attack.rng.getrandbits(32), attack.rng.getrandbits(32)
        segment = tcp_segment(ends, ports, numbers, flags, payload)
        return ethernet(attack.attacker.mac, VIP_MAC, packet(ends, segment))

    return forge


_FIN_ACK = Flags.FIN | Flags.ACK
_SYN_ACK = Flags.SYN | Flags.ACK
_XMAS = Flags.FIN | Flags.PSH | Flags.URG

#: Every kind, each as often as any other.
KINDS: tuple[Kind, ...] = (
    # Resets and SYNs with wrong numbers, as from the victim itself.
    Kind("RST, blind", _next_door(_R, lambda a: (a.blind, 0))),
    Kind("RST, in window", _next_door(_R, lambda a: (a.in_window, 0))),
    Kind(
        "RST, just below",
        _next_door(
            _R, lambda a: (after(a.target.rcv_nxt, -a.rng.choice(_IN_WINDOW)), 0)
        ),
    ),
    Kind("RST|ACK, blind", _next_door(_RA, lambda a: (a.blind, a.blind))),
    Kind(
        "RST|ACK, in window",
        _next_door(_RA, lambda a: (a.in_window, a.target.snd_nxt)),
    ),
    Kind("SYN, blind", _next_door(Flags.SYN, lambda a: (a.blind, 0))),
    Kind("SYN, in window", _next_door(Flags.SYN, lambda a: (a.in_window, 0))),
    Kind("SYN, exact", _next_door(Flags.SYN, lambda a: (a.target.rcv_nxt, 0))),
    Kind(
        "SYN|ACK, exact",
        _next_door(_SYN_ACK, lambda a: (a.target.rcv_nxt, a.target.snd_nxt)),
    ),
    # Data and FINs with wrong numbers or flags.
    Kind(
        "data, wrong ACK",
        _with_data(_PA, lambda a: (a.target.rcv_nxt, a.wrong_ack)),
    ),
    Kind(
        "data, out of window",
        _with_data(
            _PA,
            lambda a: (
                after(a.target.rcv_nxt, a.rng.choice(_FAR)),
                a.target.snd_nxt,
            ),
        ),
    ),
    Kind(
        "data, no ACK",
        _with_data(Flags.PSH, lambda a: (a.target.rcv_nxt, 0)),
    ),
    Kind(
        "FIN, wrong ACK",
        _next_door(_FIN_ACK, lambda a: (a.target.rcv_nxt, a.wrong_ack)),
    ),
    Kind("no flags", _with_data(0, lambda a: (a.target.rcv_nxt, 0))),
    Kind("FIN|PSH|URG", _next_door(_XMAS, lambda a: (a.target.rcv_nxt, 0))),
    # Marks of the switches, with numbers that fit.
    Kind("mark of a copy", _marked(FANOUT_MAC, VIP_MAC, _R)),
    Kind("mark of a relay", _marked(RELAY_MAC, VIP_MAC, _RA)),
    Kind("mark of a second chance", _marked(SECOND_CHANCE_MAC, VIP_MAC, _PA)),
    Kind("to be relayed", _marked("", RELAY_MAC, _R)),
    Kind("to be probed", _marked("", PROBE_MAC, Flags.ACK)),
    Kind("marks from elsewhere", _marked_from_elsewhere, next_door=False),
    # Exact resets of others.
    Kind("another client's address", _of_another_client, next_door=False),
    Kind("the VIP's address", _of_the_vip, next_door=False),
    # Exact resets that are no plain, whole TCP segments.
    Kind("IP options", _options),
    Kind("fragment", _fragment),
    Kind("wrong checksum", _spoiled),
    Kind("no TCP header", _without_header),
    Kind("VLAN tag", _tagged),
    Kind("ICMP error", _icmp_error),
    # Segments of no connection: each may cause a fan-out or a relay.
    Kind("stray ACK", _stray(Flags.ACK), next_door=False),
    Kind("stray data", _stray(_PA, b"data"), next_door=False),
    Kind("stray SYN|ACK", _stray(_SYN_ACK), next_door=False),
    Kind("stray RST", _stray(_R), next_door=False),
    Kind("stray RST|ACK", _stray(_RA), next_door=False),
)


def exact_reset(attack: Attack) -> bytes:
    """What no kind is: the reset that TCP has to accept. It shows that the judge sees."""
    content = packet(attack.ends, _exact_reset(attack))
    return ethernet(attack.victim.mac, VIP_MAC, content)
