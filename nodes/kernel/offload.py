"""Segmentation and checksums in software, as a network card with offloads does them.

A frame from a host with offloads may be larger than the MTU, and its TCP checksum may be
partial (TSO, CHECKSUM_PARTIAL). Before it is sent by AF_PACKET it must be segmented and
the checksum completed. TCP options are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: Largest IP packet of the links here, in octets.
MTU = 1500
_ETHERNET = 14
_IP4, _IP6 = 20, 40
_FIN_PSH = 0x09
_IPPROTO_TCP = 6
_MODULUS = 1 << 32


def segment_and_checksum(frame: bytes, eth_src: str, eth_dst: str) -> Iterator[bytes]:
    """The frame as one or more frames that fit the link, with checksums.

    They have those MAC addresses. The frame must be TCP over IPv4 without options or over
    IPv6 without extension headers. Only the last part has FIN and PSH (as in
    ``tcp_gso_segment``).
    """
    ethernet = bytes.fromhex((eth_dst + eth_src).replace(":", "")) + frame[12:14]
    is_ip6 = frame[12:14] == b"\x86\xdd"
    ip = frame[_ETHERNET : _ETHERNET + (_IP6 if is_ip6 else _IP4)]
    (length,) = struct.unpack_from("!H", ip, 4 if is_ip6 else 2)
    size = length if is_ip6 else length - len(ip)
    segment = frame[_ETHERNET + len(ip) : _ETHERNET + len(ip) + size]
    for part in _parts(segment, MTU - len(ip)):
        header = _ip6(ip, len(part)) if is_ip6 else _ip4(ip, len(part))
        addresses = header[8:40] if is_ip6 else header[12:20]
        yield ethernet + header + _summed(part, addresses)


def _parts(segment: bytes, max_size: int) -> Iterator[bytes]:
    """The TCP segment in parts of at most ``max_size`` octets, header included."""
    header, payload = _split(segment)
    step = max_size - len(header)
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
