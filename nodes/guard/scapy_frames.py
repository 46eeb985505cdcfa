"""Ethernet frames to TCP segments and back, with scapy."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import (
    FANOUT_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
)

_HOP_LIMIT = 64
#: RFC 791: "more fragments" in scapy's numbering of the three flag bits.
_MORE_FRAGMENTS = 1
_WORD = 4
_TCP_PROTOCOL = 6
#: Next-header numbers of what may stand before TCP (RFC 8200, 4; RFC 7045, 4).
EXTENSION_HEADERS = frozenset((0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254))


def dissect(frame: bytes) -> Segment | None:
    """The TCP segment in a frame. The frame may end after the TCP header.

    None for anything else: frames with VLAN tags, which the guard leaves to the kernel,
    and those of :func:`is_unreadable`.
    """
    ether = Ether(frame)
    ip = ether.payload
    if isinstance(ip, IP):
        whole = not ip.frag and not int(ip.flags) & _MORE_FRAGMENTS
        plain = ip.version == 4 and ip.ihl == 5 and whole
        size = ip.len - ip.ihl * _WORD
    elif isinstance(ip, IPv6):
        plain, size = ip.version == 6, ip.plen
    else:
        return None
    tcp = ip.payload
    if not plain or not isinstance(tcp, TCP) or not 5 <= tcp.dataofs <= size / _WORD:
        return None
    return Segment(
        src=ip.src,
        dst=ip.dst,
        sport=tcp.sport,
        dport=tcp.dport,
        seq=tcp.seq,
        ack=tcp.ack,
        flags=Flags(int(tcp.flags) & 0xFF),
        length=size - tcp.dataofs * _WORD,
        marked=ether.src == FANOUT_MAC,
        passed_on=ether.src == SECOND_CHANCE_MAC,
        relayed=ether.src == RELAY_MAC,
        is_request=ether.dst == PROBE_MAC,
    )


def is_unreadable(frame: bytes) -> bool:
    """Whether a frame holds TCP, or part of it, that :func:`dissect` cannot read.

    It has IP options, is a fragment, has an extension header before TCP (RFC 8200, 4), or
    has no valid TCP header. Such a frame must not pass the guard: the kernel might answer
    it with a reset of its own.
    """
    ether = Ether(frame)
    ip = ether.payload
    if isinstance(ip, IP) and ip.version == 4:
        return bool(ip.proto == _TCP_PROTOCOL) and dissect(frame) is None
    if isinstance(ip, IPv6) and ip.version == 6:
        if ip.nh == _TCP_PROTOCOL:
            return dissect(frame) is None
        return ip.nh in EXTENSION_HEADERS
    return False


def build_packet(segment: Segment, payload: bytes = b"") -> bytes:
    """The IP packet of a segment, without TCP options, with all checksums."""
    tcp = TCP(
        sport=segment.sport,
        dport=segment.dport,
        seq=segment.seq,
        ack=segment.ack,
        flags=int(segment.flags),
    )
    src, dst = segment.src, segment.dst
    if ":" in src:
        return bytes(IPv6(src=src, dst=dst, hlim=_HOP_LIMIT) / tcp / payload)
    return bytes(IP(src=src, dst=dst, ttl=_HOP_LIMIT, flags="DF") / tcp / payload)


def build_frame(
    segment: Segment, eth_src: str, eth_dst: str, payload: bytes = b""
) -> bytes:
    """The Ethernet frame of a segment. The caller puts the mark into ``eth_src``."""
    protocol = 0x86DD if ":" in segment.src else 0x0800
    header = bytes(Ether(src=eth_src, dst=eth_dst, type=protocol))
    return header + build_packet(segment, payload)
