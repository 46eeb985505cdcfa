"""Percentiles and peaks, compared with a slow and simple computation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.statistics import Percentiles, peak, percentiles

values = st.lists(st.floats(0, 1e9), min_size=1)
intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))


def test_nothing_measured() -> None:
    assert percentiles([]) == Percentiles(None, None, None)


def test_known_percentiles() -> None:
    assert percentiles(range(1, 101)) == Percentiles(50, 99, 100)
    assert percentiles([7]) == Percentiles(7, 7, 7)


@given(values)
def test_a_percentile_is_the_least_value_with_that_share_below(
    measured: list[float],
) -> None:
    found = percentiles(measured)
    for share, value in ((0.5, found.p50), (0.99, found.p99), (1.0, found.max)):
        assert value in measured
        assert sum(one <= value for one in measured) >= share * len(measured)
        assert sum(one < value for one in measured) < share * len(measured)


@given(intervals)
def test_peak(spans: list[tuple[int, int]]) -> None:
    at_once = [sum(start <= t < end for start, end in spans) for t in range(31)]
    assert peak(spans) == max(at_once)
