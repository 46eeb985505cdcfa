"""Every guard against the packet table, on a real kernel's connections."""

from __future__ import annotations

import itertools

import pytest

from nodes.guard.segment import Segment
from nodes.guard.verdict import Action
from tests.nodes.lab import Lab, Observation
from tests.nodes.lab_process import LabProcess
from tests.nodes.packet_states import ACK, PSH, RST, State
from tests.nodes.packet_table import COPIES, ROWS, STRAYS, SUPERPACKETS, Effect, Row
from tests.nodes.wire import CLIENT_MAC, Caught, Offload
from topologies.domain.plan import RELAY_MAC, SECOND_CHANCE_MAC

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: What the lab's node has (tests/nodes/lab.py).
_NODE_MAC = "02:02:00:00:01:03"

versions = pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])

#: What the server's socket reports of a reset (tcp_reset): in CLOSE-WAIT it is EPIPE.
_ERRORS = {State.CLOSE_WAIT: "EPIPE", State.SYN_RECEIVED: None}


@versions
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(lab: LabProcess, guard: str, ip: int, row: Row) -> None:
    _check(row, lab.run(Lab.play, guard, ip, row.name))


@versions
@pytest.mark.parametrize("row", [STRAYS[0], STRAYS[1], COPIES[0]], ids=lambda r: r.name)
def test_row_with_checksum_partial(
    lab: LabProcess, guard: str, ip: int, row: Row
) -> None:
    seen = lab.run(Lab.play, guard, ip, row.name, Offload.CHECKSUM)
    _check(row, seen)
    if guard == "ebpf":
        assert all(reset.checksum_partial for reset in seen.resets)


@versions
@pytest.mark.parametrize("row", SUPERPACKETS, ids=lambda row: row.name)
def test_superpacket(lab: LabProcess, guard: str, ip: int, row: Row) -> None:
    _check(row, lab.run(Lab.play, guard, ip, row.name, Offload.SEGMENTATION))


def _check(row: Row, seen: Observation) -> None:
    assert seen.counts == dict.fromkeys(row.counts, 1)
    if row.action is Action.ANSWER:
        assert row.out
        assert [one.segment for one in seen.resets] == [row.out(seen.packet)]
        _check_frame(seen.resets[0], seen.packet)
    elif row.action is Action.PASS_ON:
        _check_passed_on(seen, SECOND_CHANCE_MAC)
    elif row.action is Action.RELAY:
        _check_passed_on(seen, RELAY_MAC)
    elif row.effect is Effect.REFUSED:
        assert [one.segment.flags for one in seen.resets] == [RST | ACK]
    else:
        assert seen.resets == []
    _check_effect(row, seen)


def _check_passed_on(seen: Observation, mac: str) -> None:
    """The same segment, in one frame or cut to size, with other MAC addresses."""
    first, *_ = parts = [one.segment for one in seen.passed_on]
    assert (first.seq, first.ack) == (seen.packet.seq, seen.packet.ack)
    assert sum(part.length for part in parts) == seen.packet.length
    assert parts[-1].flags == seen.packet.flags
    for one, following in itertools.pairwise(parts):
        assert one.end == following.seq
        assert not one.flags & PSH
    for frame in seen.passed_on:
        assert frame.checksums_right
        assert (frame.eth_src, frame.eth_dst) == (_NODE_MAC, mac)
    assert seen.resets == []


def _check_frame(reset: Caught, packet: Segment) -> None:
    assert reset.checksums_right
    asker = SECOND_CHANCE_MAC if packet.passed_on else CLIENT_MAC
    assert (reset.eth_src, reset.eth_dst) == (_NODE_MAC, asker)
    assert (reset.ttl, reset.header, reset.segment.length) == (64, 20, 0)


def _check_effect(row: Row, seen: Observation) -> None:
    if row.effect is Effect.FREED:
        assert seen.state_after is None
        assert seen.error == _ERRORS.get(row.state, "ECONNRESET")
    elif row.effect is Effect.DELIVERED:
        assert seen.received == seen.packet.length
    else:
        assert seen.state_after == seen.state_before
        assert seen.error is None
