"""Packets and knowledge at random: mostly near the edges of what the table asks.

Everything is drawn from one :class:`random.Random`, so a seed names a case; hypothesis
has a ``Random`` of its own (``st.randoms``), whose draws it makes smaller.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from nodes.guard.segment import Flags
from nodes.guard.verdict import SEQUENCE_SLACK, Mode, Status
from tests.nodes.fuzz.imagined import Peer
from tests.nodes.fuzz.oracle import GUARD_MARK, Age, Case, Device, Entry
from tests.nodes.fuzz.raw_frames import IPV4, IPV6, checksum, packed, tcp_checksum
from topologies.domain.plan import (
    FANOUT_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
)

T = TypeVar("T")

#: The interfaces: two guarded nodes, and one whose node no guard knows.
NODE_MACS = ("02:02:00:00:01:03", "02:02:00:00:02:01", "02:02:00:00:09:09")
GUARDED = (True, True, False)

_CLIENT_MAC = packed("02:01:00:00:00:07")
#: The marks, and what differs from one in a bit.
_MARKS = tuple(packed(mac) for mac in (FANOUT_MAC, RELAY_MAC, SECOND_CHANCE_MAC))
_REQUEST = packed(PROBE_MAC)
_SOURCES = (
    *([_CLIENT_MAC] * 8),
    *(_MARKS * 2),
    *(bytes([mac[0] | 1]) + mac[1:] for mac in _MARKS),
    *(mac[:5] + bytes([mac[5] ^ 0x80]) for mac in _MARKS),
    *(mac[:4] + b"\1" + mac[5:] for mac in _MARKS),
    # The last one carries a time then, and can be passed on again.
    *(mac[:2] + time + mac[4:] for mac in _MARKS for time in (b"\0\1", b"\xff\xfe")),
)
_ODD_DESTINATIONS = (b"\xff" * 6, packed("33:33:00:00:00:01"), _CLIENT_MAC, *_MARKS)

_A, _R, _S, _F, _P = Flags.ACK, Flags.RST, Flags.SYN, Flags.FIN, Flags.PSH
_USUAL = tuple(
    int(flags)
    for flags in (_A, _A | _P, _A | _F, _R, _R | _A, _S, _S | _A, _A, _R, _F, _P)
)
_FIN_TO_CWR = 1 << 8

_HALF = 1 << 31
_STEPS = (0, 0, 0, 1, -1, 2, -2, 700, -700)
_EDGES = (
    *(sign * (SEQUENCE_SLACK + i) for sign in (1, -1) for i in (-1, 0, 1)),
    *(_HALF + i for i in (-1, 0, 1)),
)
_LENGTHS = (0, 0, 0, 0, 1, 2, 7, 700, 1448)
_LONGEST = 3000
_PAYLOAD = bytes(range(256)) * 16

_REMEMBERED = (
    *(Status.FREED, Status.ABORTED, Status.ANSWERED, Status.HELD),
    Status.RELAYED,
)
_AGES = (Age.FRESH, Age.FRESH, Age.LATE, Age.EXPIRED)

#: What comes after an IPv6 header in place of TCP: hop-by-hop, routing, fragment,
#: destination options, authentication, no next header, UDP, TCP with a shim (MPTCP no).
_NEXT_HEADERS = (0, 43, 44, 60, 51, 59, 17)
_PROTOCOLS = (1, 2, 17, 47, 132, 0, 255)
_TAGS = (b"\x81\x00\x00\x05", b"\x88\xa8\x20\x01", b"\x81\x00\x00\x00")
_OTHER_TYPES = (IPV4, IPV6, 0x0806, 0x8847, 46, 0x05DC, 0x0600)


def pick(rng: Random, choices: Sequence[T]) -> T:
    """One of them; ``random.choice`` takes three times as long."""
    return choices[int(rng.random() * len(choices))]


def make_case(rng: Random, peers: Sequence[Peer], devices: Sequence[Device]) -> Case:
    """A case about one of these connections, at one of these interfaces."""
    peer = pick(rng, peers)
    device = devices[0] if rng.random() < 0.85 else pick(rng, devices)
    egress = rng.random() < 0.2
    seq, ack = _numbers(rng, peer)
    flags = pick(rng, _USUAL) if rng.random() < 0.7 else rng.getrandbits(8)
    frame = _frame(rng, peer, device, egress, (seq, ack, flags))
    if rng.random() < 0.06:
        frame = _damaged(rng, frame)
    mark = 0
    if rng.random() < 0.08:
        mark = GUARD_MARK if rng.random() < 0.6 else rng.getrandbits(32)
    memory = _memory(rng, ack) if rng.random() < 0.6 else ()
    healing, limited = rng.random() < 0.7, rng.random() < 0.2
    mode = pick(rng, tuple(Mode))
    return Case(
        *(egress, mode, device, frame, mark, peer.tuple, memory),
        *(healing, limited),
    )


def _numbers(rng: Random, peer: Peer) -> tuple[int, int]:
    """Sequence and acknowledgment number. Half of them as a copy would have them."""
    numbers = peer.numbers
    flight = (numbers.snd_nxt - numbers.snd_una) % (1 << 32)
    sent = numbers.snd_una + int(rng.random() * (flight + 1))
    if rng.random() < 0.6:
        sent = pick(rng, (numbers.snd_una, numbers.snd_nxt))
    sent, received = _moved(rng, sent), _moved(rng, numbers.rcv_nxt)
    return (sent, received) if rng.random() < 0.5 else (received, sent)


def _moved(rng: Random, number: int) -> int:
    how = rng.random()
    if how < 0.06:
        return rng.getrandbits(32)
    by = pick(rng, _EDGES) if how < 0.25 else pick(rng, _STEPS)
    if how > 0.9:
        by = int((rng.random() - 0.5) * 2.2 * SEQUENCE_SLACK)
    return (number + by) % (1 << 32)


def _memory(rng: Random, ack: int) -> tuple[Entry, ...]:
    """One fact, or two or three of different kinds."""
    many = pick(rng, (1, 1, 2, 3))
    return tuple(_entry(rng, ack, status) for status in rng.sample(_REMEMBERED, many))


def _entry(rng: Random, ack: int, status: Status) -> Entry:
    number = ack if rng.random() < 0.7 else rng.getrandbits(32)
    return Entry(status, pick(rng, _AGES), number if status is Status.ANSWERED else 0)


def _frame(
    rng: Random, peer: Peer, device: Device, egress: bool, numbers: tuple[int, int, int]
) -> bytes:
    source = pick(rng, _SOURCES)
    target = device.mac if rng.random() < 0.96 else pick(rng, _ODD_DESTINATIONS)
    client, client_port, vip, vip_port = peer.tuple
    src, dst, ports = packed(client), packed(vip), (client_port, vip_port)
    if egress:
        source, target = target, _REQUEST if rng.random() < 0.3 else source
        src, dst, ports = dst, src, (vip_port, client_port)
    if rng.random() < 0.03:
        dst, src = pick(rng, ((src, dst), (dst, dst), (src, src)))
    tcp = _tcp(rng, src, dst, ports, numbers)
    kind = IPV4 if len(src) == 4 else IPV6
    packet = (
        _packet4(rng, src, dst, tcp) if kind == IPV4 else _packet6(rng, src, dst, tcp)
    )
    if rng.random() < 0.02:
        kind = pick(rng, _OTHER_TYPES)
    tag = pick(rng, _TAGS) if rng.random() < 0.02 else b""
    return target + source + tag + kind.to_bytes(2, "big") + packet


def _tcp(
    rng: Random,
    src: bytes,
    dst: bytes,
    ports: tuple[int, int],
    numbers: tuple[int, int, int],
) -> bytes:
    length = pick(rng, _LENGTHS)
    if rng.random() < 0.02:
        length = int(rng.random() * _LONGEST)
    offset = 5 if rng.random() < 0.7 else rng.getrandbits(4)
    reserved = 0 if rng.random() < 0.9 else rng.getrandbits(4)
    options = _PAYLOAD[: max(0, offset * 4 - 20)]
    seq, ack, flags = numbers
    fields = (*ports, seq, ack, offset << 4 | reserved, flags, rng.getrandbits(16))
    header = struct.pack("!HHIIBBH", *fields)
    urgent = b"\0\0" if rng.random() < 0.9 else rng.getrandbits(16).to_bytes(2, "big")
    rest = urgent + options + _PAYLOAD[:length]
    how = rng.random()
    if how < 0.8:
        check = tcp_checksum(src, dst, header + b"\0\0" + rest)
    else:
        check = pick(rng, (0, 0xFFFF, rng.getrandbits(16)))
    return header + check.to_bytes(2, "big") + rest


def _packet4(rng: Random, src: bytes, dst: bytes, tcp: bytes) -> bytes:
    options, fragment, protocol, first = b"", pick(rng, (0, 0x4000)), 6, 0x45
    how = rng.random()
    if how < 0.03:
        options = b"\1" * (4 * int(rng.random() * 11))
        first += len(options) // 4
    elif how < 0.05:
        fragment = 1 << rng.getrandbits(4)
    elif how < 0.06:
        fragment = rng.getrandbits(16)
    elif how < 0.07:
        protocol = pick(rng, _PROTOCOLS)
    elif how < 0.08:
        first = rng.getrandbits(8)
    total = 20 + len(options) + len(tcp)
    if rng.random() < 0.04:
        total = pick(
            rng, (0, 19, 20, 39, 40, total - 1, total + 1, rng.getrandbits(16))
        )
    fields = (first, rng.getrandbits(8), total, rng.getrandbits(16), fragment)
    head = struct.pack("!BBHHHBB", *fields, 1 + rng.getrandbits(7), protocol)
    check = checksum(head + src + dst + options)
    return head + check.to_bytes(2, "big") + src + dst + options + tcp


def _packet6(rng: Random, src: bytes, dst: bytes, tcp: bytes) -> bytes:
    following, version, extension = 6, 6, b""
    how = rng.random()
    if how < 0.04:
        following = pick(rng, _NEXT_HEADERS)
        extension = bytes([6, 0, 1, 4, 0, 0, 0, 0]) * pick(rng, (0, 1, 1, 2))
    elif how < 0.05:
        version = rng.getrandbits(4)
    elif how < 0.06:
        following = rng.getrandbits(8)
    size = len(extension) + len(tcp)
    if rng.random() < 0.04:
        size = pick(rng, (0, 19, 20, size - 1, size + 1, rng.getrandbits(16)))
    first = version << 28 | rng.getrandbits(28)
    head = struct.pack("!IHBB", first, size, following, rng.getrandbits(8))
    return head + src + dst + extension + tcp


def _damaged(rng: Random, frame: bytes) -> bytes:
    """Cut off, followed by more, or with bytes of the headers changed."""
    how = rng.random()
    if how < 0.35:
        least = 34 if frame[12:14] == b"\x08\x00" else 54
        return frame[: least + int(rng.random() * 40)]
    if how < 0.6:
        return frame + _PAYLOAD[: 1 + int(rng.random() * 40)]
    broken = bytearray(frame)
    for _ in range(1 + rng.getrandbits(1)):
        broken[int(rng.random() * min(90, len(frame)))] ^= 1 << rng.getrandbits(3)
    return bytes(broken)
