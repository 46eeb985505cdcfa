"""Frames that are built without scapy are those that scapy would build."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from nodes.guard.bare_frame import bare_frame
from nodes.guard.scapy_frames import build_frame, dissect
from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import VIP4, VIP6

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
