"""What is concluded from the frames that a link has passed."""

from __future__ import annotations

import pytest

from tests.topologies.link_probe import Arrivals, binomial_bounds

MS = 10**6


def at(*ms: float) -> Arrivals:
    """Frames of 500 octets, 4 kbit, that came at those times."""
    times = [(0, round(each * MS)) for each in ms]
    return Arrivals(sent=len(ms), octets=500, begin_ns=0, times_ns=times)


@pytest.mark.parametrize(
    ("seen", "kilobits"),
    [
        (at(4, 8, 12), 4),  # just the rate of 1 Mbit/s
        (at(0, 0, 0), 12),  # what was in the bucket
        (at(0, 0, 0, 4, 8), 12),  # and then the rate
        (at(0, 0, 0, 2, 4), 16),  # faster than the rate after that
        (at(0, 100, 100, 100), 12),  # a pause fills the bucket, but no more
        (at(1, 3, 5, 7, 9), 12),  # twice the rate for long
    ],
)
def test_a_stretch_above_the_rate_is_found(seen: Arrivals, kilobits: float) -> None:
    assert seen.fullest_bucket_bits(rate_mbit=1) == kilobits * 1000


def test_what_did_not_come_is_lost() -> None:
    seen = Arrivals(sent=5, octets=64, begin_ns=0, times_ns=[(0, 4 * MS), (MS, 4 * MS)])
    assert seen.lost == 3
    assert seen.delays_ms() == [4.0, 3.0]
    assert (seen.seconds(), seen.bits()) == (0.004, 1024)


def test_bounds_hold_the_mean_and_grow_with_its_spread() -> None:
    assert binomial_bounds(20_000, 0.02, 5) == range(302, 499)
    assert binomial_bounds(20_000, 0.02, 1) == range(381, 420)
    assert binomial_bounds(20_000, 0.0, 5) == range(1)
