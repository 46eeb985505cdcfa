"""The fits of growth: exact for points of a law, least squares for others."""

from __future__ import annotations

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from experiments.bench.basis.fit import Point, PowerLaw, power_law, slope
from experiments.bench.basis.not_computable import NotComputableError

xs = st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True)
scattered = st.lists(
    st.tuples(st.integers(1, 1000), st.floats(0.1, 1e3)), min_size=2, max_size=8
)


@given(xs, st.floats(-100, 100), st.floats(-100, 100))
def test_points_on_a_line_have_its_slope(
    xs: list[int], rise: float, start: float
) -> None:
    points = [(float(x), start + rise * x) for x in xs]
    assert slope(points) == pytest.approx(rise, abs=1e-6)


@given(scattered, st.floats(-1e3, 1e3))
def test_a_constant_does_not_change_the_slope(
    points: list[Point], fixed: float
) -> None:
    if len({x for x, _ in points}) > 1:
        raised = [(x, y + fixed) for x, y in points]
        assert slope(raised) == pytest.approx(slope(points), abs=1e-6)


def test_with_one_x_the_line_starts_at_the_origin() -> None:
    assert slope([(4.0, 2.0)]) == 0.5
    assert slope([(4.0, 2.0), (4.0, 2.0)]) == 0.5


@given(scattered)
def test_no_other_slope_has_a_smaller_error(points: list[Point]) -> None:
    if len({x for x, _ in points}) < 2:
        return
    found = slope(points)

    def error(rise: float) -> float:
        rests = [y - rise * x for x, y in points]
        middle = sum(rests) / len(rests)
        return sum((rest - middle) ** 2 for rest in rests)

    least = error(found)
    for other in (found + 0.1, found - 0.1, 0.0):
        assert error(other) >= least * (1 - 1e-9) - 1e-6


@given(xs, st.floats(0.01, 100), st.floats(-2, 2))
def test_points_of_a_power_law_yield_it(
    xs: list[int], factor: float, exponent: float
) -> None:
    made = PowerLaw(factor, exponent)
    law = power_law([(x, made.at(x)) for x in xs])
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.factor == pytest.approx(factor, rel=1e-4)
    assert law.at(7) == pytest.approx(made.at(7), rel=1e-4)


@given(scattered, st.floats(0.01, 100))
def test_the_unit_does_not_change_the_exponent(
    points: list[Point], unit: float
) -> None:
    if len({x for x, _ in points}) > 1:
        try:
            one, other = (power_law([(x, y * u) for x, y in points]) for u in (1, unit))
        except NotComputableError:
            reject()
        assert other.exponent == pytest.approx(one.exponent, abs=1e-6)
        assert other.factor == pytest.approx(one.factor * unit, rel=1e-6)


def test_a_constant_cost_has_exponent_zero() -> None:
    law = power_law([(15, 0.1), (45, 0.1), (150, 0.1)])
    assert law.exponent == pytest.approx(0)
    assert law.at(1000) == pytest.approx(0.1)


@pytest.mark.parametrize("points", [[(0, 1.0), (1, 1.0)], [(1, 0.0), (2, -1.0)]])
def test_a_power_law_needs_positive_points(points: list[Point]) -> None:
    with pytest.raises(NotComputableError, match="no power law through"):
        power_law(points)


def test_a_law_that_is_too_steep_is_not_computable() -> None:
    with pytest.raises(NotComputableError, match="with exponent -14[0-9]"):
        power_law([(132, 3.0), (133, 1.0)])


def test_at_x_zero_alone_there_is_no_slope() -> None:
    with pytest.raises(NotComputableError, match="the only x is zero"):
        slope([(0.0, 2.0)])
