"""Frames read and written by offsets alone: a million of them in a minute.

It shares nothing with the guards' own readers, so a mistake is not made twice.
"""

from __future__ import annotations

import ipaddress
import struct
from functools import lru_cache

from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import (
    FANOUT_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP6,
)

IPV4, IPV6 = 0x0800, 0x86DD
ETHERNET, SHORTEST_TCP = 14, 20
#: EtherType -> where the TCP header begins, without options and extension headers.
TCP_START = {IPV4: 34, IPV6: 54}
#: Of the TCP header: data offset and flags, checksum.
_FLAGS_AT, _CHECKSUM_AT = 12, 16
_TCP = 6
_ONES = 0xFFFF

_HEADER4 = struct.Struct("!BBHHHBBH4s4s")
_HEADER6 = struct.Struct("!IHBB16s16s")
_TCP_HEADER = struct.Struct("!HHIIBBHHH")
_DONT_FRAGMENT, _FRAGMENT = 0x4000, 0x3FFF
_HOP_LIMIT = 64


@lru_cache(1 << 12)
def packed(text: str) -> bytes:
    """An address, or a MAC, as bytes."""
    if text.count(":") == 5 and "::" not in text:
        return bytes.fromhex(text.replace(":", ""))
    return ipaddress.ip_address(text).packed


@lru_cache(1 << 16)
def _readable(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


_ALL_FLAGS = [Flags(bits) for bits in range(256)]
_MARK, _SECOND_CHANCE = packed(FANOUT_MAC), packed(SECOND_CHANCE_MAC)
_RELAYED, _REQUEST = packed(RELAY_MAC), packed(PROBE_MAC)
_VIP4, _VIP6 = packed(VIP4), packed(VIP6)
#: Next headers that may stand before TCP (RFC 8200, 4; RFC 7045, 4).
_EXTENSIONS = (0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254)


def read_frame(frame: bytes) -> Segment | None:
    """The TCP segment in a frame; None for what no guard reads.

    That is: VLAN tags, IPv4 options, IPv6 extension headers, fragments, and lengths that
    have no room for the TCP header. The frame may end after 20 bytes of that header.
    """
    kind = int.from_bytes(frame[12:14], "big")
    start = TCP_START.get(kind, 0)
    if not start or len(frame) < start + SHORTEST_TCP:
        return None
    if kind == IPV4:
        first, _, total, _, fragment, _, protocol, _, src, dst = _HEADER4.unpack_from(
            frame, ETHERNET
        )
        if first != 0x45 or fragment & _FRAGMENT:
            return None
        size = total - _HEADER4.size
    else:
        first, size, protocol, _, src, dst = _HEADER6.unpack_from(frame, ETHERNET)
        if first >> 28 != 6:
            return None
    sport, dport, seq, ack, offset, flags, *_ = _TCP_HEADER.unpack_from(frame, start)
    header = offset >> 4 << 2
    if protocol != _TCP or not SHORTEST_TCP <= header <= size:
        return None
    source = frame[6:12]
    return Segment(
        *(_readable(src), _readable(dst), sport, dport, seq, ack, _ALL_FLAGS[flags]),
        length=size - header,
        marked=source == _MARK,
        passed_on=source == _SECOND_CHANCE,
        relayed=source == _RELAYED,
        is_request=frame[:6] == _REQUEST,
    )


def is_unreadable(frame: bytes) -> bool:
    """Whether it is TCP to the virtual address, or part of it, that no guard can read."""
    kind = int.from_bytes(frame[12:14], "big")
    start = TCP_START.get(kind, 0)
    if not start or len(frame) < start:
        return False
    if kind == IPV4:
        to_vip = frame[30:34] == _VIP4 and frame[14] >> 4 == 4
        return to_vip and frame[23] == _TCP and read_frame(frame) is None
    if frame[38:54] != _VIP6 or frame[14] >> 4 != 6:
        return False
    if frame[20] == _TCP:
        return read_frame(frame) is None
    return frame[20] in _EXTENSIONS


def is_of_vip(segment: Segment) -> bool:
    """Whether one of its ends is the virtual address."""
    return bool({segment.src, segment.dst} & {VIP4, VIP6})


def reset_frame(segment: Segment, eth_dst: bytes, eth_src: bytes) -> bytes:
    """The whole frame of a guard's own reset, as the guard in the kernel writes it."""
    src, dst = packed(segment.src), packed(segment.dst)
    if len(src) == 4:
        kind, total = IPV4, _HEADER4.size + SHORTEST_TCP
        fields = (0x45, 0, total, 0, _DONT_FRAGMENT, _HOP_LIMIT, _TCP)
        check = checksum(_HEADER4.pack(*fields, 0, src, dst))
        header = _HEADER4.pack(*fields, check, src, dst)
    else:
        kind = IPV6
        header = _HEADER6.pack(6 << 28, SHORTEST_TCP, _TCP, _HOP_LIMIT, src, dst)
    numbers = (segment.sport, segment.dport, segment.seq, segment.ack)
    tcp = (*numbers, SHORTEST_TCP // 4 << 4, int(segment.flags), 0)
    check = tcp_checksum(src, dst, _TCP_HEADER.pack(*tcp, 0, 0))
    ethernet = eth_dst + eth_src + kind.to_bytes(2, "big")
    return ethernet + header + _TCP_HEADER.pack(*tcp, check, 0)


def rewritten(frame: bytes, after: Segment) -> bytes:
    """The frame with the numbers and flags of ``after``, its checksum brought along.

    The checksum is not made anew (RFC 1624, equation 3): a wrong one stays wrong, so the
    node's TCP discards the segment, as it would have done.
    """
    start = TCP_START[int.from_bytes(frame[12:14], "big")]
    flags_at, checksum_at = start + _FLAGS_AT, start + _CHECKSUM_AT
    old = frame[start + 4 : flags_at + 2]
    new = struct.pack("!IIBB", after.seq, after.ack, old[8], int(after.flags))
    (check,) = struct.unpack_from("!H", frame, checksum_at)
    total = _ONES - check + sum_of(new) - sum_of(old)
    head = frame[: start + 4] + new + frame[flags_at + 2 : checksum_at]
    return head + _complement(total).to_bytes(2, "big") + frame[checksum_at + 2 :]


def tcp_checksum(src: bytes, dst: bytes, segment: bytes) -> int:
    """The checksum of a TCP segment, whose own checksum field is zero (RFC 9293, 3.1)."""
    return _complement(pseudo_sum(src, dst, len(segment)) + sum_of(segment))


def pseudo_sum(src: bytes, dst: bytes, size: int) -> int:
    """The sum of the pseudo-header, not folded."""
    return sum_of(src) + sum_of(dst) + _TCP + size


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of ``data``."""
    return _complement(sum_of(data))


def sum_of(data: bytes) -> int:
    """What is congruent to the sum of its 16-bit words, modulo 65535.

    2^16 is congruent to 1, so the whole may be taken as one number.
    """
    return int.from_bytes(data + bytes(len(data) % 2), "big")


def _complement(total: int) -> int:
    """The one's complement of a sum that is not zero. It is never 0xffff."""
    return _ONES - (total % _ONES or _ONES)
