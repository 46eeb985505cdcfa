"""Ethernet frames of TCP segments that no socket sent."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from nodes.guard.bare_frame import bare_frame
from nodes.guard.segment import Flags, Segment
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
    segment = Segment(src, dst, sport, dport, *numbers, flags)
    return bare_frame(segment, eth_src, eth_dst)
