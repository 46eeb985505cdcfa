"""The kernel itself runs each filter on each kind of segment."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from experiments.instruments.packet_filter import FilterError, attach, program
from experiments.record.capture_points import DATA, FULL, RESETS, STRAYS
from topologies.domain.plan import GATEWAY_MAC, VIP_MAC

SNAPLEN = 60
#: Both named, or scapy would ask the machine's own network for them.
ETHERNET = Ether(src=GATEWAY_MAC, dst=VIP_MAC)
V4 = ETHERNET / IP(src="10.0.0.1", dst="10.1.0.1")
V4_OPTIONS = ETHERNET / IP(src="10.0.0.1", dst="10.1.0.1", options=b"\x01" * 8)
V4_FRAGMENT = ETHERNET / IP(src="10.0.0.1", dst="10.1.0.1", frag=5)
V6 = ETHERNET / IPv6(src="fd00:10::1", dst="fd00:10:1::1")

#: segment, kept by ``resets``.  ``full`` and, inwards, ``strays`` keep every TCP one.
SEGMENTS = {
    "reset": (V4 / TCP(flags="R"), True),
    "abort": (V4 / TCP(flags="RA"), True),
    "syn": (V4 / TCP(flags="S"), True),
    "fin-with-data": (V4 / TCP(flags="FPA") / b"bye", True),
    "ack": (V4 / TCP(flags="A"), False),
    "data": (V4 / TCP(flags="PA") / (b"x" * 1000), False),
    "reset-behind-ip-options": (V4_OPTIONS / TCP(flags="R"), True),
    "data-behind-ip-options": (V4_OPTIONS / TCP(flags="PA") / b"x", False),
    "ipv6-reset": (V6 / TCP(flags="R"), True),
    "ipv6-data": (V6 / TCP(flags="PA") / b"x", False),
}
#: Those of them that carry data, and more in which only lengths say so.
WITH_DATA = {
    "data": V4 / TCP(flags="PA") / (b"x" * 1000),
    "data-behind-ip-options": V4_OPTIONS / TCP(flags="A") / b"x",
    "data-behind-tcp-options": V4 / TCP(flags="A", options=[("MSS", 9)]) / b"x",
    "data-behind-both": V4_OPTIONS / TCP(flags="A", options=[("MSS", 9)]) / b"x",
    "ipv6-data-behind-options": V6
    / TCP(flags="A", options=[("Timestamp", (1, 2))])
    / b"x",
    "ipv6-data": V6 / TCP(flags="A") / b"x",
}
WITHOUT = {
    "ack": V4 / TCP(flags="A"),
    "ack-behind-ip-options": V4_OPTIONS / TCP(flags="A"),
    "options": V4 / TCP(flags="PA", options=[("Timestamp", (1, 2))]),
    "ipv6-ack": V6 / TCP(flags="A"),
    "ipv6-options": V6 / TCP(flags="PA", options=[("Timestamp", (1, 2))]),
}
NOT_TCP = {
    "udp": V4 / UDP() / bytes(40),
    "icmp": V4 / ICMP() / bytes(40),
    "ipv6-udp": V6 / UDP() / bytes(40),
    "arp": ETHERNET / ARP() / bytes(40),
    "later-fragment": V4_FRAGMENT / TCP(flags="R") / bytes(40),
}


def kept(name: str, frame: bytes) -> bytes:
    """What a socket with that filter receives of ``frame``; empty where refused."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        attach(right, program(name, SNAPLEN))
        right.setblocking(False)
        left.send(frame)
        try:
            return right.recv(65536)
        except BlockingIOError:
            return b""


@pytest.mark.parametrize("name", WITH_DATA)
def test_data_is_kept(name: str) -> None:
    assert kept(DATA, bytes(WITH_DATA[name]))


@pytest.mark.parametrize("name", WITHOUT)
def test_padding_of_a_frame_is_not_data(name: str) -> None:
    assert not kept(DATA, bytes(WITHOUT[name]) + bytes(6))


def rows() -> Iterator[object]:
    for label, (segment, in_resets) in SEGMENTS.items():
        data = in_resets or "data" in label
        for name, expected in (
            (FULL, True),
            (STRAYS, True),
            (RESETS, in_resets),
            (DATA, data),
        ):
            yield pytest.param(name, bytes(segment), expected, id=f"{name}-{label}")
    for label, packet in NOT_TCP.items():
        for name in (FULL, STRAYS, RESETS, DATA):
            yield pytest.param(name, bytes(packet), False, id=f"{name}-{label}")


@pytest.mark.parametrize(("name", "frame", "expected"), list(rows()))
def test_kernel_keeps(name: str, frame: bytes, expected: bool) -> None:
    assert kept(name, frame) == (frame[:SNAPLEN] if expected else b"")


def test_an_unknown_filter_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(FilterError, match="full, resets, data, strays"):
        program("everything", SNAPLEN)
