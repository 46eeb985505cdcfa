"""Ethernet frames of TCP segments that no socket sent, built fast: there may be thousands."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterable, Iterator

from nodes.guard.segment import Flags
from topologies.domain.connection import FourTuple
from topologies.domain.plan import (
    FANOUT_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
)

_TCP = struct.Struct("!HHIIBBHHH")
_DATA_OFFSET, _WINDOW, _HOPS, _DONT_FRAGMENT = 5 << 4, 1024, 64, 0x4000
#: Source ports of strays: no client uses them.
STRAY_PORTS = range(1024, 20000)


def forged_resets(
    client: Client, connections: Iterable[FourTuple], count: int, seed: int
) -> Iterator[bytes]:
    """Resets of those connections with random numbers, with and without marks.

    The sender is the client's host, so the switches must refuse the marks, and the
    kernels the numbers (RFC 9293, 3.10.7.4; RFC 5961, 3.2).
    """
    chance = random.Random(seed)
    known = sorted(connections)
    sources = (client.mac, FANOUT_MAC, RELAY_MAC, SECOND_CHANCE_MAC)
    for _ in range(count if known else 0):
        flags = chance.choice((Flags.RST, Flags.RST | Flags.ACK))
        numbers = chance.getrandbits(32), chance.getrandbits(32)
        source = chance.choice(sources)
        yield frame(chance.choice(known), flags, numbers, source, VIP_MAC)


def strays(client: Client, port: int, count: int, seed: int) -> Iterator[bytes]:
    """ACKs of connections that never were, to that port of the virtual address."""
    chance = random.Random(seed)
    for _ in range(count):
        ends = chance.choice(((client.ipv4, VIP4), (client.ipv6, VIP6)))
        source = chance.choice(STRAY_PORTS)
        numbers = chance.getrandbits(32), chance.getrandbits(32)
        connection = FourTuple(ends[0], source, ends[1], port)
        yield frame(connection, Flags.ACK, numbers, client.mac, VIP_MAC)


def frame(
    connection: FourTuple,
    flags: Flags,
    numbers: tuple[int, int],
    eth_src: str,
    eth_dst: str,
) -> bytes:
    """The frame of a segment from client to server. ``numbers``: SEG.SEQ, SEG.ACK."""
    src, sport, dst, dport = connection
    six = ":" in src
    family = socket.AF_INET6 if six else socket.AF_INET
    ends = socket.inet_pton(family, src) + socket.inet_pton(family, dst)
    pseudo = ends + struct.pack("!HH" if not six else "!II", *_pseudo(six))
    fields = sport, dport, *numbers, _DATA_OFFSET, int(flags), _WINDOW
    tcp = _TCP.pack(*fields, _checksum(pseudo + _TCP.pack(*fields, 0, 0)), 0)
    macs = b"".join(bytes.fromhex(m.replace(":", "")) for m in (eth_dst, eth_src))
    if six:
        header = struct.pack("!IHBB", 6 << 28, _TCP.size, socket.IPPROTO_TCP, _HOPS)
        return macs + b"\x86\xdd" + header + ends + tcp
    words = 0x45, 0, 20 + _TCP.size, 0, _DONT_FRAGMENT, _HOPS, socket.IPPROTO_TCP
    total = _checksum(struct.pack("!BBHHHBBH", *words, 0) + ends)
    header = struct.pack("!BBHHHBBH", *words, total)
    return macs + b"\x08\x00" + header + ends + tcp


def _pseudo(six: bool) -> tuple[int, int]:
    return (_TCP.size, socket.IPPROTO_TCP) if six else (socket.IPPROTO_TCP, _TCP.size)


def _checksum(octets: bytes) -> int:
    """The complement of the sum of 16-bit words in one's complement (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
