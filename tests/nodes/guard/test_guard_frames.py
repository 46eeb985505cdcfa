"""Frames to segments and back, and which frames are none of the guard's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from nodes.guard.scapy_frames import build_frame, dissect
from nodes.guard.segment import Flags, Segment
from topologies.domain.plan import FANOUT_MAC, VIP4, VIP6

_MAC = "02:01:00:00:00:07"
_TCP = TCP(flags="A")
_ENDS = st.sampled_from([("10.1.0.7", VIP4), ("fd00:10:1::7", VIP6)])
_NUMBER = st.integers(0, 2**32 - 1)
_PORT = st.integers(0, 2**16 - 1)


@settings(max_examples=50, deadline=None)
@given(
    _ENDS, _PORT, _PORT, _NUMBER, _NUMBER, st.integers(0, 255), st.binary(max_size=40)
)
def test_segment_survives_the_wire(
    ends: tuple[str, str],
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes,
) -> None:
    segment = Segment(*ends, sport, dport, seq, ack, Flags(flags), len(payload))
    frame = build_frame(segment, _MAC, _MAC, payload)
    assert dissect(frame) == segment
    assert dissect(frame[: len(frame) - len(payload)]) == segment


def test_mark_is_the_ethernet_source() -> None:
    segment = Segment("10.1.0.7", VIP4, 1, 2, 3, 4, Flags.RST, marked=True)
    assert dissect(build_frame(segment, FANOUT_MAC, _MAC)) == segment


@pytest.mark.parametrize(
    "packet",
    [
        IP() / UDP(),
        IP() / ICMP(),
        ARP(),
        IP(options=[IPOption_NOP()] * 4) / _TCP,
        IP(flags="MF") / _TCP,
        IP(frag=9) / _TCP,
        IPv6() / IPv6ExtHdrDestOpt() / _TCP,
        IPv6() / IPv6ExtHdrFragment() / _TCP,
        Dot1Q(vlan=5) / IP() / _TCP,
        IP() / TCP(dataofs=4),
    ],
    ids=lambda packet: packet.summary(),
)
def test_other_frames_are_not_judged(packet: Packet) -> None:
    assert dissect(bytes(Ether(src=_MAC, dst=_MAC) / packet)) is None
