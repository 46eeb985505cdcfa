"""The figures of a sweep from summaries: sums, what was not measured, lower bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep.bootstrap import MIN_VALUES, median
from experiments.sweep.figures import FIGURES, HIGHER, LOWER, Figure, is_lower_bound

BY_NAME = {figure.name: figure for figure in FIGURES}
finite = st.floats(-1e6, 1e6)


def summary(count: int, at_end: int) -> dict[str, Any]:
    return {"half_open": {"count": count, "at_end": at_end}}


def test_names_are_unique_and_directions_are_known() -> None:
    assert len(BY_NAME) == len(FIGURES)
    assert {figure.better for figure in FIGURES} == {LOWER, HIGHER, None}


def test_a_figure_of_several_keys_is_their_sum() -> None:
    packets = {"tier1_copies": 3, "tier2_copies": 40}
    assert BY_NAME["copies"].of({"packets": packets}) == 43.0


def test_a_figure_of_which_a_part_was_not_measured_is_none() -> None:
    assert BY_NAME["copies"].of({"packets": {"tier1_copies": 3}}) is None
    nothing = {"packets": {"tier1_copies": 3, "tier2_copies": None}}
    assert BY_NAME["copies"].of(nothing) is None
    assert BY_NAME["copies"].of({}) is None


def test_zero_is_a_measured_value() -> None:
    found = BY_NAME["moved"].of({"connections": {"moved": 0}})
    assert (found, type(found)) == (0.0, float)


def test_a_combination_may_have_no_figure() -> None:
    def ratio(values: Any) -> float | None:
        part, whole = values
        return part / whole if whole else None

    share = Figure("share", "Share", ("part", "whole"), combine=ratio)
    assert share.of({"part": 1, "whole": 4}) == 0.25
    assert share.of({"part": 1, "whole": 0}) is None


@pytest.mark.parametrize(
    ("name", "count", "at_end", "bound"),
    [
        ("lifetime", 10, 0, False),
        ("lifetime", 10, 5, False),
        ("lifetime", 10, 6, True),
        ("lifetime", 1, 1, True),
        ("lifetime", 0, 0, False),
        ("lifetime_max", 10, 0, False),
        ("lifetime_max", 10, 1, True),
        ("left", 10, 10, False),
        ("latency_max", 10, 10, False),
    ],
)
def test_a_lifetime_is_a_bound_where_too_few_have_ended(
    name: str, count: int, at_end: int, bound: bool
) -> None:
    assert is_lower_bound(summary(count, at_end), BY_NAME[name]) is bound


@given(st.integers(0, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_where_the_median_is_a_bound_the_longest_is(counts: tuple[int, int]) -> None:
    shown = summary(*counts)
    middle = is_lower_bound(shown, BY_NAME["lifetime"])
    assert is_lower_bound(shown, BY_NAME["lifetime_max"]) or not middle


@given(st.lists(finite, min_size=1, max_size=9))
def test_a_median_lies_within_its_interval_and_that_within_the_values(
    values: list[float],
) -> None:
    found = median(values)
    assert found.n == len(values)
    assert (found.minimum, found.maximum) == (min(values), max(values))
    assert found.value is not None
    assert sum(one <= found.value for one in values) * 2 >= len(values)
    assert sum(one >= found.value for one in values) * 2 >= len(values)
    if len(values) < MIN_VALUES:
        assert found.low is found.high is None
        return
    assert found.low is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@given(st.lists(finite, min_size=3, max_size=9), st.randoms())
def test_the_order_of_runs_changes_nothing(values: list[float], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    assert median(shuffled) == median(values)


def test_equal_values_are_certain() -> None:
    assert median([7.0] * 5)[1:] == (7.0,) * 5


def test_no_value_is_no_median() -> None:
    assert median([]) == (0, None, None, None, None, None)
