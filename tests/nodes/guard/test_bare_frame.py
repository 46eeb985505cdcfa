"""Frames are built and read without scapy as scapy would build and read them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from nodes.guard.bare_frame import bare_frame, read_plain
from nodes.guard.scapy_frames import build_frame, dissect
from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import (
    FANOUT_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP6,
)

_SOURCE, _DESTINATION = "02:01:00:00:00:01", "02:02:00:00:01:03"
_numbers = st.integers(0, 2**32 - 1)
_ports = st.integers(1, 65535)
_ends = st.one_of(
    st.tuples(st.ip_addresses(network="10.1.0.0/16").map(str), st.just(VIP4)),
    st.tuples(st.ip_addresses(network="fd00:10:1::/64").map(str), st.just(VIP6)),
)
_flags = st.sampled_from([Flags.RST, Flags.RST | Flags.ACK, Flags.ACK, Flags.SYN])


@given(_ends, _ports, _ports, _numbers, _numbers, _flags)
def test_scapy_reads_the_segment_and_agrees_with_the_checksums(
    ends: tuple[str, str], sport: int, dport: int, seq: int, ack: int, flags: Flags
) -> None:
    segment = Segment(*ends, sport, dport, seq, ack, flags)
    made = bare_frame(segment, _SOURCE, _DESTINATION)
    assert dissect(made) == segment
    for layer in (IP, TCP):
        if layer in (again := Ether(made)):
            del again[layer].chksum
            assert bytes(again) == made, f"the checksum of {layer.__name__}"
    scapys = build_frame(segment, _SOURCE, _DESTINATION)
    assert (len(made), made[:14]) == (len(scapys), scapys[:14])


def test_a_payload_is_refused() -> None:
    segment = Segment("10.1.0.1", VIP4, 1, 2, 3, 4, Flags.ACK, length=16)
    with pytest.raises(ValueError, match="a payload of 16 octets"):
        bare_frame(segment, _SOURCE, _DESTINATION)


@settings(max_examples=300, deadline=None)
@given(
    ends=st.sampled_from([("10.1.0.7", VIP4), ("fd00:10:1::7", VIP6)]),
    macs=st.permutations([FANOUT_MAC, SECOND_CHANCE_MAC, RELAY_MAC, PROBE_MAC]),
    options=st.sampled_from([[], [("Timestamp", (7, 8))], [("NOP", None)] * 12]),
    payload=st.binary(max_size=30),
    spoilt=st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=4),
    kept=st.integers(0, 120),
)
def test_a_frame_is_read_as_scapy_reads_it_or_left_to_scapy(
    ends: tuple[str, str],
    macs: Sequence[str],
    options: Sequence[tuple[str, object]],
    payload: bytes,
    spoilt: Sequence[tuple[int, int]],
    kept: int,
) -> None:
    """Whatever octets are changed, and wherever it is cut off."""
    header = (IPv6 if ":" in ends[0] else IP)(src=ends[0], dst=ends[1])
    frame = bytearray(
        bytes(Ether(src=macs[0], dst=macs[1]) / header / TCP(options=options) / payload)
    )
    whole = read_plain(bytes(frame))
    assert whole is not None
    assert whole == dissect(bytes(frame))
    for place, octet in spoilt:
        if place < len(frame):
            frame[place] = octet
    cut = bytes(frame[: max(kept, 14)])
    assert read_plain(cut) in (None, dissect(cut))
