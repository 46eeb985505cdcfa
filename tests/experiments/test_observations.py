"""Fields of a captured frame, for frames that scapy builds."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from experiments.analysis.observations import RST, SYN, Observation, parse_packet
from experiments.record.pcapng import CapturedPacket
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.plan import FANOUT_MAC, VIP4, VIP6, VIP_MAC

ETHERNET = Ether(src=FANOUT_MAC, dst=VIP_MAC)
TO_NODE = {4: IP(src="10.1.0.1", dst=VIP4), 6: IPv6(src="fd00:10:1::1", dst=VIP6)}
TO_CLIENT = {4: IP(src=VIP4, dst="10.1.0.1"), 6: IPv6(src=VIP6, dst="fd00:10:1::1")}
SNAPLEN = 100


def seen(frame: Packet) -> Observation | None:
    data = bytes(frame)
    return parse_packet(
        "c1n1", CapturedPacket(1, 0, 5, False, len(data), memoryview(data[:SNAPLEN]))
    )


@pytest.mark.parametrize("version", [4, 6])
def test_every_field(version: int) -> None:
    layers = ETHERNET / TO_NODE[version]
    found = seen(layers / TCP(sport=1, dport=2, seq=3, ack=4, flags="R"))
    src, dst = TO_NODE[version].src, TO_NODE[version].dst
    assert found == Observation(
        1, 5, "c1n1", False, FANOUT_MAC, VIP_MAC, src, 1, dst, 2, 3, 4, RST, 0
    )


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [0, 1, 9000], ids="payload-{}".format)
@pytest.mark.parametrize("options", [[], [("Timestamp", (1, 2))]], ids=["bare", "ts"])
def test_payload_is_counted_from_the_ip_length(
    version: int, size: int, options: list[object]
) -> None:
    segment = TCP(flags="PA", options=options) / (b"x" * size)
    found = seen(ETHERNET / TO_NODE[version] / segment)
    assert found is not None
    assert found.payload == size


@pytest.mark.parametrize("version", [4, 6])
def test_both_directions_name_the_same_connection(version: int) -> None:
    up = seen(ETHERNET / TO_NODE[version] / TCP(sport=20001, dport=10809))
    down = seen(ETHERNET / TO_CLIENT[version] / TCP(sport=10809, dport=20001))
    assert up is not None
    assert down is not None
    assert up.connection == down.connection
    assert up.connection == FourTuple(
        TO_NODE[version].src, 20001, TO_NODE[version].dst, 10809
    )


def test_a_connection_is_formatted() -> None:
    assert (
        format_connection(FourTuple("10.1.0.1", 1, VIP4, 2))
        == "10.1.0.1:1 > 10.0.0.1:2"
    )
    assert (
        format_connection(FourTuple("fd00::1", 1, VIP6, 2))
        == "[fd00::1]:1 > [fd00:10::1]:2"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("R", True), ("RP", True), ("RA", False), ("S", False), ("A", False)],
)
def test_only_a_bare_reset_says_not_recognised(flags: str, expected: bool) -> None:
    found = seen(ETHERNET / TO_CLIENT[4] / TCP(flags=flags))
    assert found is not None
    assert found.not_recognised is expected


def test_flags_have_names() -> None:
    found = seen(ETHERNET / TO_CLIENT[4] / TCP(flags="SA"))
    assert found is not None
    assert found.flag_names == "SYN,ACK"
    assert found.flags & SYN


@pytest.mark.parametrize(
    "frame",
    [ETHERNET / ARP(), ETHERNET / TO_NODE[4] / UDP(), ETHERNET / TO_NODE[6] / UDP()],
    ids=["arp", "udp4", "udp6"],
)
def test_other_protocols_are_not_observed(frame: Packet) -> None:
    assert seen(frame / (b"\0" * 60)) is None


def test_a_segment_between_other_addresses_has_no_connection() -> None:
    found = seen(ETHERNET / IP(src="10.2.1.1", dst="10.2.1.2") / TCP())
    assert found is not None
    assert found.connection is None
