"""Ethernet frames to TCP segments and back, with scapy."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import FANOUT_MAC, SECOND_CHANCE_MAC

_HOP_LIMIT = 64
#: RFC 791: "more fragments" in scapy's numbering of the three flag bits.
_MORE_FRAGMENTS = 1
_WORD = 4


def dissect(frame: bytes) -> Segment | None:
    """The TCP segment in a frame. The frame may end after the TCP header.

    None for anything else, and for frames that the guard leaves to the kernel: with VLAN
    tags, IP options or IPv6 extension headers, and fragments.
    """
    ether = Ether(frame)
    ip = ether.payload
    if isinstance(ip, IP):
        plain = ip.ihl == 5 and not ip.frag and not int(ip.flags) & _MORE_FRAGMENTS
        size = ip.len - ip.ihl * _WORD
    elif isinstance(ip, IPv6):
        plain, size = True, ip.plen
    else:
        return None
    tcp = ip.payload
    if not plain or not isinstance(tcp, TCP) or tcp.dataofs < 5:
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
    )


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
