"""The client's end of the link to a node: sends frames and captures the answers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from nodes.guard.scapy_frames import build_frame, dissect
from nodes.guard.segment import Segment
from topologies.domain.plan import FANOUT_MAC, RELAY_MAC, SECOND_CHANCE_MAC

CLIENT_MAC = "02:01:00:00:00:07"
DEADLINE_S = 10.0

#: linux/if_packet.h; each frame has a struct virtio_net_hdr before it.
_OUTGOING = 4  # PACKET_OUTGOING
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
#: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset (linux/virtio_net.h)
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_GSO_TCPV4, _GSO_TCPV6 = 1, 4
_CHECKSUM_OFFSET = 16
_MSS = 1448


class Offload(Enum):
    """What the sender left to be done, as userspace switches pass it on."""

    NONE = "complete checksum"
    CHECKSUM = "checksum owed"
    SEGMENTATION = "checksum and segmentation owed"


@dataclass(frozen=True)
class Caught:
    """A TCP frame from the node."""

    segment: Segment
    ttl: int
    header: int  # bytes of TCP header
    checksums_right: bool
    checksum_partial: bool
    eth_src: str
    eth_dst: str


class Deadline(AssertionError):
    """An expected event did not happen. The text says what was seen instead."""


class Wire:
    """A raw socket on the client's end, the interface of that name."""

    def __init__(self, interface: str, node_mac: str) -> None:
        self._node_mac = node_mac
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        self._socket.bind((interface, 0))

    def send(self, segment: Segment, offload: Offload = Offload.NONE) -> None:
        """Put the segment on the wire, with as much payload as it says."""
        frame = self.frame_of(segment)
        if offload is not Offload.NONE:
            frame = _owe_checksum(frame)
        self._socket.send(_vnet_header(frame, offload) + frame)

    def frame_of(self, segment: Segment) -> bytes:
        """The frame that carries the segment from the client to the node."""
        source = FANOUT_MAC if segment.marked else CLIENT_MAC
        if segment.passed_on:
            source = SECOND_CHANCE_MAC
        if segment.relayed:
            source = RELAY_MAC
        payload = bytes(i & 0xFF for i in range(segment.length))
        return build_frame(segment, source, self._node_mac, payload)

    def send_damaged(self, segment: Segment) -> None:
        """Send the segment with a wrong checksum: no TCP will take it."""
        frame = bytearray(self.frame_of(segment))
        frame[_tcp_start(frame) + _CHECKSUM_OFFSET] ^= 0xFF
        self.send_raw(bytes(frame))

    def send_raw(self, frame: bytes) -> None:
        """Put any frame on the wire."""
        self._socket.send(_VNET.pack(0, 0, 0, 0, 0, 0) + frame)

    def catch_until(self, enough: Callable[[list[Caught]], bool]) -> list[Caught]:
        """What the node sent since the last call, once that is ``enough``."""
        caught: list[Caught] = []
        deadline = time.monotonic() + DEADLINE_S
        while not enough(caught):
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                caught += self._receive()
            except TimeoutError:
                raise Deadline(f"seen instead: {caught}") from None
        return caught

    def catch_at_once(self) -> list[Caught]:
        """What has come back since the last call, without waiting for more."""
        caught: list[Caught] = []
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                caught += self._receive()
        return caught

    def _receive(self) -> list[Caught]:
        data, address = self._socket.recvfrom(1 << 17)
        return [] if address[2] == _OUTGOING else _catch(data)


def _tcp_start(frame: bytes | bytearray) -> int:
    return 34 if frame[12:14] == b"\x08\x00" else 54


def _vnet_header(frame: bytes, offload: Offload) -> bytes:
    start = _tcp_start(frame)
    if offload is Offload.NONE:
        return _VNET.pack(0, 0, 0, 0, 0, 0)
    if offload is Offload.CHECKSUM:
        return _VNET.pack(_NEEDS_CSUM, 0, 0, 0, start, _CHECKSUM_OFFSET)
    kind = _GSO_TCPV4 if start == 34 else _GSO_TCPV6
    return _VNET.pack(_NEEDS_CSUM, kind, start + 20, _MSS, start, _CHECKSUM_OFFSET)


def _pseudo_sum(frame: bytes) -> int:
    """The sum of the pseudo-header: the start value of a partial checksum."""
    ip = Ether(frame).payload
    size = ip.len - 20 if isinstance(ip, IP) else ip.plen
    ends = [ipaddress.ip_address(address).packed for address in (ip.src, ip.dst)]
    # scapy complements the sum.
    return 0xFFFF & ~int(checksum(b"".join(ends) + struct.pack("!HH", 6, size)))


def _owe_checksum(frame: bytes) -> bytes:
    at = _tcp_start(frame) + _CHECKSUM_OFFSET
    return frame[:at] + struct.pack("!H", _pseudo_sum(frame)) + frame[at + 2 :]


def _catch(data: bytes) -> list[Caught]:
    flags = data[0]
    frame = data[_VNET.size :]
    segment = dissect(frame)
    if segment is None:
        return []
    ether = Ether(frame)
    ip, tcp = ether.payload, ether.payload.payload
    owed = bool(flags & _NEEDS_CSUM)
    return [
        Caught(
            segment=segment,
            ttl=ip.ttl if isinstance(ip, IP) else ip.hlim,
            header=tcp.dataofs * 4,
            checksums_right=_checksums_right(frame, owed),
            checksum_partial=owed,
            eth_src=ether.src,
            eth_dst=ether.dst,
        )
    ]


def _checksums_right(frame: bytes, owed: bool) -> bool:
    ether = Ether(frame)
    told = ether[TCP].chksum
    if owed:
        return bool(told == _pseudo_sum(frame))
    del ether[TCP].chksum
    if IP in ether:
        del ether[IP].chksum
    return bytes(Ether(bytes(ether))) == frame
