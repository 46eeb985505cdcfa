"""Bounds of values, and lines of the table from repetitions."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.figure import (
    Bound,
    Line,
    Results,
    Setting,
    line_alone,
    line_with_reference,
    numbers_of,
    settings_of_kinds,
    values_of,
)
from experiments.bench.basis.not_computable import NotComputableError
from experiments.bench.basis.size import QUICK

positive = st.floats(1e-6, 1e6)
repetitions = st.lists(positive, min_size=1, max_size=7)
bounds = st.builds(Bound, positive, st.booleans())
OURS = Setting("ours", 3, 2, 1, "kernel")


def beside(
    ours: list[float],
    reference: list[float],
    bound: Bound | None = None,
    *,
    speedup: bool = False,
    also: bool = True,
) -> Line:
    return line_with_reference(
        "a title", "ms", ours, reference, "it", bound, speedup=speedup, also=also
    )


@given(bounds)
def test_the_limit_is_within_the_bound(bound: Bound) -> None:
    assert bound.holds(bound.limit)


@given(positive, positive)
def test_of_a_bound_and_its_opposite_at_least_one_holds(
    limit: float, value: float
) -> None:
    held = [Bound(limit, side).holds(value) for side in (True, False)]
    assert any(held)
    assert all(held) == (value == limit)


@given(bounds, positive, positive)
def test_a_better_value_is_within_the_bound_as_well(
    bound: Bound, one: float, other: float
) -> None:
    worse, better = sorted((one, other), reverse=not bound.at_least)
    assert bound.holds(better) or not bound.holds(worse)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (Bound(20, at_least=True), "≥ 20x"),
        (Bound(1.3, at_least=False), "≤ 1.3x"),
        (Bound(8.0, at_least=False, unit=" GiB"), "≤ 8 GiB"),
        (Bound(1.0, at_least=False, unit=""), "≤ 1"),
    ],
)
def test_a_bound_as_text(bound: Bound, message: str) -> None:
    assert str(bound) == message


def test_a_ratio_is_of_the_medians() -> None:
    line = beside([4.0, 100.0, 2.0], [1.0, 2.0, 3.0], Bound(2, at_least=False))
    assert (line.ours, line.reference, line.value) == (4.0, 2.0, 2.0)
    assert (line.spread, line.met, line.bound) == ((2.0, 100.0), True, "≤ 2x")
    assert (line.title, line.unit, line.reference_is) == ("a title", "ms", "it")


@given(repetitions, repetitions)
def test_a_speedup_is_the_reciprocal_ratio(
    ours: list[float], reference: list[float]
) -> None:
    ratio, faster = beside(ours, reference), beside(ours, reference, speedup=True)
    assert (ratio.ours, ratio.reference) == (faster.ours, faster.reference)
    assert ratio.value is not None and faster.value is not None
    assert ratio.value * faster.value == pytest.approx(1)
    assert (faster.value >= 1) == (ratio.ours <= statistics.median(reference))


@given(repetitions)
def test_the_order_of_repetitions_does_not_matter(ours: list[float]) -> None:
    again = sorted(ours, reverse=True)
    assert beside(ours, [1.0]) == beside(again, [1.0])
    assert line_alone("", "", ours) == line_alone("", "", again)


@given(repetitions)
def test_the_spread_contains_the_median(ours: list[float]) -> None:
    for line in (beside(ours, [1.0]), line_alone("", "", ours)):
        assert line.spread is not None
        assert line.spread[0] <= line.ours <= line.spread[1]
        assert set(line.spread) <= set(ours)


@given(repetitions, repetitions, bounds)
def test_a_line_is_met_if_its_value_is_within_the_bound(
    ours: list[float], reference: list[float], bound: Bound
) -> None:
    compared, alone = beside(ours, reference, bound), line_alone("", "", ours, bound)
    for line in (compared, alone):
        assert line.value is not None
        assert line.met is bound.holds(line.value)
        assert line.bound == str(bound)


@given(repetitions, bounds)
def test_a_line_that_misses_the_further_condition_is_not_met(
    ours: list[float], bound: Bound
) -> None:
    assert beside(ours, [1.0], bound, also=False).met is False
    assert line_alone("", "", ours, bound, also=False).met is False


@given(repetitions, st.booleans())
def test_without_a_bound_a_line_is_neither_met_nor_missed(
    ours: list[float], also: bool
) -> None:
    compared = beside(ours, [2.0], also=also)
    assert (compared.met, compared.bound) == (None, "")
    assert compared.value == pytest.approx(compared.ours / 2)
    alone = line_alone("", "", ours, also=also)
    assert (alone.met, alone.bound, alone.value) == (None, "", None)


@pytest.mark.parametrize(
    ("speedup", "zero"), [(False, "the reference's median"), (True, "our median")]
)
def test_nothing_is_divided_by_zero(speedup: bool, zero: str) -> None:
    ours, reference = ([0.0], [1.0]) if speedup else ([1.0], [0.0])
    with pytest.raises(NotComputableError, match=f"^a title: {zero} is zero$"):
        beside(ours, reference, speedup=speedup)
    assert beside(reference, ours, speedup=speedup).value == 0


def test_a_line_alone_has_no_reference() -> None:
    line = line_alone("memory", "GiB", [3.0, 1.0, 2.0], remarks=["why"])
    assert (line.ours, line.reference, line.reference_is) == (2.0, None, "")
    assert (line.spread, line.remarks) == ((1.0, 3.0), ("why",))


@given(repetitions, repetitions, bounds, st.lists(st.text(max_size=5), max_size=2))
def test_json_has_all_of_a_line(
    ours: list[float], reference: list[float], bound: Bound, remarks: list[str]
) -> None:
    line = line_with_reference("t", "ms", ours, reference, "r", bound, remarks=remarks)
    read = json.loads(json.dumps(line.to_json()))
    read["spread"], read["remarks"] = tuple(read["spread"]), tuple(read["remarks"])
    assert Line(**read) == line


def test_values_of_a_key_are_in_the_order_of_repetitions() -> None:
    found = [{"a": 1, "b": {"c": {"d": 2}}}, {"a": 3, "b": {"c": {"d": 4}}}]
    other = Setting("stock", 3, 2, 1, "kernel")
    results: Results = {OURS: found, other: [{"a": 9}]}
    assert values_of(results, OURS, "a") == [1, 3]
    assert values_of(results, OURS, "b.c.d") == [2, 4]
    assert values_of(results, other, "a") == [9]


def test_a_number_that_was_not_measured_in_some_repetition_is_not_computable() -> None:
    results: Results = {OURS: [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}]}
    assert numbers_of(results, OURS, "a") == [1.0, 3.0]
    with pytest.raises(NotComputableError, match="^ours 3x2 kernel: b: nothing to"):
        numbers_of(results, OURS, "b")


def test_a_missing_key_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        values_of({OURS: [{"a": {"b": 1}}]}, OURS, "a.c")


def test_settings_have_different_names() -> None:
    assert OURS.name == "ours 3x2 kernel"
    like = [("naive", 3, 2, "kernel"), ("ours", 2, 3, "kernel"), ("ours", 3, 2, "u")]
    names = {Setting(k, c, n, 1, d).name for k, c, n, d in like}
    assert len(names | {OURS.name}) == 4


def test_the_plan_of_a_setting_has_its_size() -> None:
    plan = OURS.plan
    assert (len(plan.chassis), len(list(plan.nodes)), len(plan.clients)) == (3, 6, 1)


def test_every_kind_is_measured_at_the_size_of_the_array() -> None:
    found = settings_of_kinds(("ours", "stock"))(QUICK.on("kernel"))
    assert [setting.name for setting in found] == [
        "ours 10x15 kernel",
        "stock 10x15 kernel",
    ]
    assert {setting.clients for setting in found} == {QUICK.clients}
