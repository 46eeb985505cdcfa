"""What a network card would do to a frame that the kernel left to it, in software.

A frame that comes in from a host with offloads may be larger than a link takes, and its
TCP checksum may not have been made (TSO, CHECKSUM_PARTIAL). Sent on by AF_PACKET, it
must be cut to size and completed first. TCP options are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: What the links here take: an IP packet of 1,500 octets.
MTU = 1500
_ETHERNET = 14
_IP4, _IP6 = 20, 40
_FIN_PSH = 0x09
_IPPROTO_TCP = 6
_MODULUS = 1 << 32


def as_sent(frame: bytes, eth_src: str, eth_dst: str) -> Iterator[bytes]:
    """The frame as one or more that fit the link, with those addresses, checksums made.

    It must be TCP over IPv4 without options or IPv6 without extension headers. Only
    the last part has FIN and PSH (as ``tcp_gso_segment`` has it).
    """
    ethernet = bytes.fromhex((eth_dst + eth_src).replace(":", "")) + frame[12:14]
    is_ip6 = frame[12:14] == b"\x86\xdd"
    ip = frame[_ETHERNET : _ETHERNET + (_IP6 if is_ip6 else _IP4)]
    (said,) = struct.unpack_from("!H", ip, 4 if is_ip6 else 2)
    size = said if is_ip6 else said - len(ip)
    segment = frame[_ETHERNET + len(ip) : _ETHERNET + len(ip) + size]
    for part in _parts(segment, MTU - len(ip)):
        header = _ip6(ip, len(part)) if is_ip6 else _ip4(ip, len(part))
        addresses = header[8:40] if is_ip6 else header[12:20]
        yield ethernet + header + _summed(part, addresses)


def _parts(segment: bytes, most: int) -> Iterator[bytes]:
    """The TCP segment in pieces of at most ``most`` octets, header included."""
    header, payload = _split(segment)
    step = most - len(header)
    (seq,) = struct.unpack_from("!I", header, 4)
    for start in range(0, max(1, len(payload)), step):
        part = bytearray(header)
        struct.pack_into("!I", part, 4, (seq + start) % _MODULUS)
        if start + step < len(payload):
            part[13] &= ~_FIN_PSH
        yield bytes(part) + payload[start : start + step]


def _split(segment: bytes) -> tuple[bytes, bytes]:
    octets = (segment[12] >> 4) * 4
    return segment[:octets], segment[octets:]


def _ip4(header: bytes, size: int) -> bytes:
    made = bytearray(header)
    struct.pack_into("!H", made, 2, len(header) + size)
    struct.pack_into("!H", made, 10, 0)
    struct.pack_into("!H", made, 10, _checksum(bytes(made)))
    return bytes(made)


def _ip6(header: bytes, size: int) -> bytes:
    return header[:4] + struct.pack("!H", size) + header[6:]


def _summed(segment: bytes, addresses: bytes) -> bytes:
    """The segment with its checksum (RFC 9293, 3.1; RFC 8200, 8.1)."""
    bare = segment[:16] + bytes(2) + segment[18:]
    pseudo = addresses + struct.pack("!II", len(segment), _IPPROTO_TCP)
    total = struct.pack("!H", _checksum(pseudo + bare))
    return segment[:16] + total + segment[18:]


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
