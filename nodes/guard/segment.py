"""A TCP segment as plain data, and the resets that answer it.

Sequence numbers are modulo 2^32 (RFC 9293, 3.4). Compare them with :func:`precedes` and
:func:`within`, never with ``<``. Directions are the node's: on ingress ``src`` is the
client and ``dst`` the virtual address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag

from topologies.domain.connection import FourTuple

_MODULUS = 1 << 32
_HALF = 1 << 31


class Flags(IntFlag):
    """Control bits of the TCP header (RFC 9293, 3.1)."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


@dataclass(frozen=True)
class Segment:
    """One TCP segment; ``length`` is its payload in bytes.

    ``marked``: its Ethernet source is :data:`topologies.domain.plan.FANOUT_MAC`. A switch
    made it, as a fan-out copy (claim E3). ``passed_on``: it was redirected to this node, as the last one.
    ``relayed``: it is a client's own reset that another node has relayed. ``is_request``:
    the healer asks for a keepalive of this connection; the numbers mean nothing.
    """

    src: str
    dst: str
    sport: int
    dport: int
    seq: int
    ack: int
    flags: Flags
    length: int = 0
    marked: bool = False
    passed_on: bool = False
    relayed: bool = False
    is_request: bool = False

    @property
    def end(self) -> int:
        """SEG.SEQ + SEG.LEN; SYN and FIN count one each (RFC 9293, 3.4)."""
        controls = bool(self.flags & Flags.SYN) + bool(self.flags & Flags.FIN)
        return advance(self.seq, self.length + controls)

    @property
    def ingress_connection(self) -> FourTuple:
        """The connection of a segment on its way from the client to the node."""
        return FourTuple(self.src, self.sport, self.dst, self.dport)

    @property
    def egress_connection(self) -> FourTuple:
        """The connection of a segment on its way from the node to the client."""
        return FourTuple(self.dst, self.dport, self.src, self.sport)


def advance(seq: int, count: int) -> int:
    """The sequence number ``count`` octets after ``seq`` (before it, if negative)."""
    return (seq + count) % _MODULUS


def distance(start: int, end: int) -> int:
    """From ``start`` to ``end``, -2^31 to 2^31 - 1; negative if ``end`` is before."""
    return (end - start + _HALF) % _MODULUS - _HALF


def precedes(first: int, second: int) -> bool:
    """Whether ``first`` is before ``second``; false for numbers exactly 2^31 apart."""
    return distance(first, second) > 0


def within(low: int, number: int, high: int) -> bool:
    """``low <= number <= high`` on the circle, going up from ``low``."""
    return (number - low) % _MODULUS <= (high - low) % _MODULUS


def not_recognised_reset(stray: Segment) -> Segment:
    """The reset for a segment of an unknown connection (claim E2).

    RFC 9293, 3.10.7.1: ``<SEQ=SEG.ACK><CTL=RST>``. Without the ACK flag the client does
    not read the acknowledgment field. So the field carries SEG.SEQ to the owner of the
    connection, whose guard checks both numbers.
    """
    return replace(_reply(stray), seq=stray.ack, ack=stray.seq, flags=Flags.RST)


def refusal_reset(segment: Segment) -> Segment:
    """The reset that means "aborted". It has the ACK flag, so no switch fans it out."""
    flags = Flags.RST | Flags.ACK
    return replace(_reply(segment), seq=segment.ack, ack=segment.end, flags=flags)


def fan_out_copy(reset: Segment) -> Segment:
    """The copy that the fabric makes of a "not recognised" reset: swapped, marked (E3)."""
    return replace(_reply(reset), marked=True)


def exact_reset(copy: Segment, rcv_nxt: int) -> Segment:
    """The reset that the owner's TCP accepts (RFC 5961, 3.2): SEG.SEQ = RCV.NXT."""
    return replace(copy, seq=rcv_nxt, ack=0, flags=Flags.RST, length=0)


def keepalive(request: Segment, snd_una: int, rcv_nxt: int) -> Segment:
    """A keepalive of the connection that ``request`` names (RFC 9293, 3.8.4).

    Its sequence number has been acknowledged, so a client that holds the connection
    answers with ACK, and one that does not with RST. As in Linux (``tcp_xmit_probe_skb``).
    """
    seq = advance(snd_una, -1)
    return replace(request, seq=seq, ack=rcv_nxt, flags=Flags.ACK, is_request=False)


def exact_reset_from(leaving: Segment) -> Segment:
    """The exact reset of a connection, by the RCV.NXT in its last segment."""
    return exact_reset(_reply(leaving), leaving.ack)


def probe(copy: Segment) -> Segment:
    """A probe that makes the connection send its SND.NXT and RCV.NXT.

    It is a quarter of the sequence space outside the window. TCP answers a segment out of
    window with ``<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`` (RFC 9293, 3.10.7.4). Its one octet
    is never read; without payload, Linux limits the answers (tcp_oow_rate_limited).
    """
    position = copy.seq if copy.relayed else copy.ack
    outside = advance(position, -_HALF // 2)
    return replace(copy, seq=outside, ack=copy.seq, flags=Flags.ACK, length=1)


def _reply(segment: Segment) -> Segment:
    return replace(
        segment,
        src=segment.dst,
        dst=segment.src,
        sport=segment.dport,
        dport=segment.sport,
        length=0,
        marked=False,
        passed_on=False,
        relayed=False,
        is_request=False,
    )
