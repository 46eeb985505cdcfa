"""What is concluded from the frames that a link has passed."""

from __future__ import annotations

from tests.topologies.link_probe import Arrivals, binomial_bounds

MS = 10**6


def test_frames_that_did_not_arrive_are_lost() -> None:
    seen = Arrivals(sent=5, octets=64, begin_ns=0, times_ns=[(0, 4 * MS), (MS, 4 * MS)])
    assert seen.lost == 3
    assert seen.delays_ms() == [4.0, 3.0]
    assert (seen.seconds(), seen.bits()) == (0.004, 1024)


def test_bounds_hold_the_mean_and_grow_with_its_spread() -> None:
    assert binomial_bounds(20_000, 0.02, 5) == range(302, 499)
    assert binomial_bounds(20_000, 0.02, 1) == range(381, 420)
    assert binomial_bounds(20_000, 0.0, 5) == range(1)
