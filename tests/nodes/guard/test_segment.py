"""Sequence arithmetic on the circle, and the resets that follow from a segment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.guard.segment import (
    Flags,
    Segment,
    advance,
    distance,
    exact_reset,
    fan_out_copy,
    not_recognised_reset,
    precedes,
    refusal_reset,
    within,
)
from topologies.domain.connection import FourTuple

_NUMBER = st.integers(0, 2**32 - 1)
_STEP = st.integers(-(2**31), 2**31 - 1)
_SEGMENT = st.builds(
    Segment,
    src=st.just("10.1.0.7"),
    dst=st.just("10.0.0.1"),
    sport=st.integers(1, 65535),
    dport=st.integers(1, 65535),
    seq=_NUMBER,
    ack=_NUMBER,
    flags=st.integers(0, 255).map(Flags),
    length=st.integers(0, 65535),
    marked=st.booleans(),
)


@given(_NUMBER, _STEP)
def test_distance_is_how_far_one_has_to_advance(start: int, step: int) -> None:
    assert distance(start, advance(start, step)) == step


@given(_NUMBER, _STEP, _NUMBER)
def test_rotating_the_circle_changes_no_order(a: int, step: int, turn: int) -> None:
    b = advance(a, step)
    assert precedes(a, b) == precedes(advance(a, turn), advance(b, turn))
    assert precedes(a, b) == (step > 0)


@given(_NUMBER, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_within_is_betweenness_on_the_circle(low: int, span: int, step: int) -> None:
    assert within(low, advance(low, step), advance(low, span)) == (step <= span)


@pytest.mark.parametrize(
    ("flags", "length", "end"),
    [
        (Flags.ACK, 0, 2**32 - 1),
        (Flags.ACK, 1, 0),
        (Flags.ACK | Flags.FIN, 1, 1),
        (Flags.SYN, 0, 0),
        (Flags.SYN | Flags.FIN, 5, 6),
    ],
)
def test_syn_and_fin_take_a_sequence_number(
    flags: Flags, length: int, end: int
) -> None:
    assert Segment("c", "v", 1, 2, 2**32 - 1, 0, flags, length).end == end


@given(_SEGMENT)
def test_copy_carries_the_strays_numbers_to_the_owner(stray: Segment) -> None:
    reset = not_recognised_reset(stray)
    assert reset.flags == Flags.RST
    assert reset.egress_connection == stray.ingress_connection
    copy = fan_out_copy(reset)
    assert copy.marked
    assert copy.ingress_connection == stray.ingress_connection
    assert (copy.seq, copy.ack, copy.length) == (stray.ack, stray.seq, 0)


@given(_SEGMENT, _NUMBER)
def test_exact_reset_is_the_copy_at_rcv_nxt(stray: Segment, rcv_nxt: int) -> None:
    copy = fan_out_copy(not_recognised_reset(stray))
    exact = exact_reset(copy, rcv_nxt)
    assert exact == replace(copy, seq=rcv_nxt, ack=0)


@given(_SEGMENT)
def test_refusal_acknowledges_the_whole_segment(segment: Segment) -> None:
    reset = refusal_reset(segment)
    assert reset.flags == Flags.RST | Flags.ACK
    assert (reset.seq, reset.ack) == (segment.ack, segment.end)
    assert not reset.marked


def test_four_tuple_is_the_same_in_both_directions() -> None:
    arriving = Segment("10.1.0.7", "10.0.0.1", 4, 80, 0, 0, Flags.ACK)
    leaving = Segment("10.0.0.1", "10.1.0.7", 80, 4, 0, 0, Flags.ACK)
    assert arriving.ingress_connection == leaving.egress_connection
    assert arriving.ingress_connection == FourTuple("10.1.0.7", 4, "10.0.0.1", 80)
