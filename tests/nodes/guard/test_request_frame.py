"""The frame by which a healer asks for a keepalive."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from nodes.guard.request_frame import request_frame
from nodes.guard.scapy_frames import dissect
from nodes.guard.segment import Flags
from topologies.domain.connection import FourTuple
from topologies.domain.plan import PROBE_MAC

_MAC = "02:02:00:00:01:03"


@pytest.mark.parametrize(
    "connection",
    [
        FourTuple("10.1.0.7", 40000, "10.0.0.1", 10809),
        FourTuple("fd00:10:1::7", 65535, "fd00:10::1", 1),
    ],
)
def test_it_names_the_connection_and_its_checksums_are_right(
    connection: FourTuple,
) -> None:
    frame = request_frame(connection, _MAC)
    segment = dissect(frame)
    assert segment is not None
    assert segment.egress_connection == connection
    assert segment.is_request
    assert (segment.seq, segment.ack, segment.flags) == (0, 0, Flags.ACK)
    again = Ether(frame)
    assert (again.src, again.dst) == (_MAC, PROBE_MAC)
    del again.payload.payload.chksum
    if isinstance(again.payload, IP):
        del again.payload.chksum
    assert bytes(again) == frame
