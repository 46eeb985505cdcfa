"""Segmentation and checksums in software: what a receiver gets is what was sent."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodes.kernel.offload import MTU, segment_and_checksum

SRC, DST = "02:00:00:00:00:01", "02:00:00:00:00:02"
FIN, RST, PSH, ACK = 0x01, 0x04, 0x08, 0x10
ADDRESSES = {4: ("10.1.0.1", "10.0.0.1"), 6: ("fd00:1::1", "fd00::1")}
TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(range(8))


@dataclass(frozen=True)
class Part:
    """One frame as its receiver reads it."""

    ethernet: bytes
    ip: bytes
    tcp: bytes
    payload: bytes

    @property
    def seq(self) -> int:
        (seq,) = struct.unpack_from("!I", self.tcp, 4)
        return int(seq)

    @property
    def flags(self) -> int:
        return self.tcp[13]


def ones_sum(data: bytes) -> int:
    """The one's complement sum of RFC 1071, octet by octet: 0xffff where it is right."""
    total = 0
    for index, octet in enumerate(data):
        total += octet << (8 if index % 2 == 0 else 0)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame(
    ip: int, payload: bytes, seq: int = 1, flags: int = ACK, options: bytes = b""
) -> bytes:
    """A frame as a host with offloads sends it: its checksum is not complete."""
    words = (20 + len(options)) // 4
    tcp = struct.pack("!HHIIBBHHH", 7, 9, seq, 77, words << 4, flags, 512, 0xBEEF, 0)
    segment = tcp + options + payload
    src, dst = (ipaddress.ip_address(address).packed for address in ADDRESSES[ip])
    if ip == 4:
        size = 20 + len(segment)
        header = struct.pack("!BBHHHBBH", 0x45, 2, size, 5, 0x4000, 64, 6, 0xDEAD)
        return bytes(12) + b"\x08\x00" + header + src + dst + segment
    header = struct.pack("!IHBB", 0x60200000, len(segment), 6, 64)
    return bytes(12) + b"\x86\xdd" + header + src + dst + segment


def received(frames: list[bytes], ip: int) -> list[Part]:
    """Every frame in its parts; fails if a length or a checksum is wrong."""
    return [_received(one, ip) for one in frames]


def _received(one: bytes, ip: int) -> Part:
    octets = 20 if ip == 4 else 40
    header, segment = one[14 : 14 + octets], one[14 + octets :]
    assert len(header) + len(segment) <= MTU
    if ip == 4:
        assert struct.unpack_from("!H", header, 2) == (len(header) + len(segment),)
        assert ones_sum(header) == 0xFFFF
        addresses = header[12:]
    else:
        assert struct.unpack_from("!H", header, 4) == (len(segment),)
        addresses = header[8:]
    pseudo = addresses + struct.pack("!II", len(segment), 6)
    assert ones_sum(pseudo + segment) == 0xFFFF
    size = (segment[12] >> 4) * 4
    return Part(one[:14], header, segment[:size], segment[size:])


def sent(made: bytes, ip: int) -> list[Part]:
    return received(list(segment_and_checksum(made, SRC, DST)), ip)


versions = st.sampled_from((4, 6))
options = st.sampled_from((b"", TIMESTAMPS, bytes(40)))
payloads = st.integers(0, 9000).flatmap(
    lambda size: st.just((bytes(range(256)) * 36)[:size])
)


@given(versions, payloads, st.integers(0, (1 << 32) - 1), options)
@example(4, bytes(3000), (1 << 32) - 100, b"")
@example(4, bytes(1460), 1, b"")
@example(4, bytes(1461), 1, b"")
@example(6, bytes(1440), 1, b"")
def test_a_receiver_puts_together_what_was_sent(
    ip: int, payload: bytes, seq: int, tcp_options: bytes
) -> None:
    parts = sent(frame(ip, payload, seq, options=tcp_options), ip)
    got = 0
    for part in parts:
        assert part.seq == (seq + got) % (1 << 32)
        assert part.payload == payload[got : got + len(part.payload)]
        assert part.tcp[20:] == tcp_options
        got += len(part.payload)
    assert got == len(payload)


@given(versions, payloads, options)
def test_no_more_frames_than_are_needed(
    ip: int, payload: bytes, tcp_options: bytes
) -> None:
    room = MTU - (20 if ip == 4 else 40) - 20 - len(tcp_options)
    parts = sent(frame(ip, payload, options=tcp_options), ip)
    assert len(parts) == max(1, -(-len(payload) // room))


@pytest.mark.parametrize("size", [2881, 4000, 2 * 1440, 2 * 1460])
@pytest.mark.parametrize("ip", [4, 6])
def test_only_the_last_part_ends_the_stream(ip: int, size: int) -> None:
    *earlier, last = sent(frame(ip, bytes(size), flags=FIN | PSH | ACK), ip)
    assert earlier
    assert {part.flags for part in earlier} == {ACK}
    assert last.flags == FIN | PSH | ACK


@pytest.mark.parametrize("ip", [4, 6])
def test_a_reset_without_payload_is_one_frame_with_a_new_checksum(ip: int) -> None:
    (part,) = sent(frame(ip, b"", seq=123, flags=RST), ip)
    assert (part.seq, part.flags, part.payload) == (123, RST, b"")


@pytest.mark.parametrize("ip", [4, 6])
def test_the_mac_addresses_are_the_callers_and_the_rest_stays(ip: int) -> None:
    made = frame(ip, b"hello")
    (part,) = sent(made, ip)
    assert part.ethernet[:6].hex(":") == DST
    assert part.ethernet[6:12].hex(":") == SRC
    assert part.ethernet[12:] == made[12:14]
    addresses = slice(12, 20) if ip == 4 else slice(8, 40)
    assert part.ip[addresses] == made[14:][addresses]
    assert part.ip[0] == made[14]


@pytest.mark.parametrize("ip", [4, 6])
def test_ethernet_padding_is_not_payload(ip: int) -> None:
    (part,) = sent(frame(ip, b"x") + bytes(17), ip)
    assert part.payload == b"x"
