"""The frame by which a healer asks a node's guard for a keepalive.

It has the ends of the connection, and zero for both numbers: the guard knows them. The
checksums are right, because the guard in the kernel corrects them by the difference.
Built without scapy, for speed: there may be thousands at once.
"""

from __future__ import annotations

import socket
import struct

from nodes.guard.segment import Flags
from topologies.domain.connection import FourTuple
from topologies.domain.plan import PROBE_MAC

_ETHERNET = struct.Struct("!6s6sH")
_TCP = struct.Struct("!HHIIBBHHH")
_IP4 = struct.Struct("!BBHHHBBH4s4s")
_IP6 = struct.Struct("!IHBB16s16s")
_DATA_OFFSET = 5 << 4
_DONT_FRAGMENT, _HOPS = 0x4000, 64
#: A client does not read it in a segment that is out of its window (RFC 9293, 3.10.7.4).
_WINDOW = 1024


def request_frame(connection: FourTuple, mac: str) -> bytes:
    """The request of the node with that MAC for a keepalive of ``connection``."""
    macs = (
        bytes.fromhex(PROBE_MAC.replace(":", "")),
        bytes.fromhex(mac.replace(":", "")),
    )
    if ":" in connection.dst:
        return _ETHERNET.pack(*macs, 0x86DD) + _ip6(connection)
    return _ETHERNET.pack(*macs, 0x0800) + _ip4(connection)


def _ip4(connection: FourTuple) -> bytes:
    vip, client = socket.inet_aton(connection.dst), socket.inet_aton(connection.src)
    tcp = _tcp(connection, vip + client + struct.pack("!HH", 6, _TCP.size))
    size = _IP4.size + _TCP.size
    fields = 0x45, 0, size, 0, _DONT_FRAGMENT, _HOPS, socket.IPPROTO_TCP
    total = _sum(_IP4.pack(*fields, 0, vip, client))
    return _IP4.pack(*fields, ~total & 0xFFFF, vip, client) + tcp


def _ip6(connection: FourTuple) -> bytes:
    vip, client = (
        socket.inet_pton(socket.AF_INET6, end)
        for end in (connection.dst, connection.src)
    )
    tcp = _tcp(connection, vip + client + struct.pack("!II", _TCP.size, 6))
    header = _IP6.pack(6 << 28, _TCP.size, socket.IPPROTO_TCP, _HOPS, vip, client)
    return header + tcp


def _tcp(connection: FourTuple, pseudo_header: bytes) -> bytes:
    ports = connection.dport, connection.sport
    fields = *ports, 0, 0, _DATA_OFFSET, int(Flags.ACK), _WINDOW
    checksum = ~_sum(pseudo_header + _TCP.pack(*fields, 0, 0)) & 0xFFFF
    return _TCP.pack(*fields, checksum, 0)


def _sum(octets: bytes) -> int:
    """The sum of 16-bit words in one's complement (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)
