"""The figure of growth: the cost of one more reset by size of the cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.figure import Line, Setting
from experiments.bench.basis.size import QUICK, Size
from experiments.bench.figures import FIGURES, growth
from tests.experiments.bench.made_up_results import results, wave

LOADS = (100, 1000, 3000)


def by_cost(
    cost_ms: Callable[[int], float], size: Size = QUICK, fixed_s: float = 0.0
) -> dict[Setting, Any]:
    """Results where a reset costs ``cost_ms(nodes)``, and a wave ``fixed_s`` in addition."""
    found: dict[Setting, Any] = {}
    for setting in growth.settings(size):
        nodes = setting.chassis * setting.nodes
        seconds = {n: fixed_s + n * cost_ms(nodes) / 1e3 for n in LOADS}
        waves = [wave(n, took) for n, took in seconds.items()]
        found[setting] = [{"nodes": nodes, "waves": waves}]
    return found


def line_of(found: dict[Setting, Any]) -> Line:
    (line,) = growth.lines(QUICK, found)
    return line


def test_there_is_a_cluster_for_each_number_of_chassis() -> None:
    found = growth.settings(QUICK)
    assert [setting.chassis for setting in found] == list(QUICK.growth_chassis)
    assert {setting.nodes for setting in found} == {QUICK.nodes}


def test_the_largest_cluster_is_the_array() -> None:
    assert Setting.array("ours", QUICK) in growth.settings(QUICK)
    assert Setting.array("ours", QUICK) in FIGURES["mass-reset"].settings(QUICK)


@given(st.floats(0.01, 10), st.floats(0, 5))
def test_the_fixed_cost_of_a_wave_does_not_count(cost: float, fixed_s: float) -> None:
    found = growth.costs(QUICK, by_cost(lambda _: cost, fixed_s=fixed_s))
    assert [nodes for nodes, _ in found] == [15, 45, 150]
    assert [ms for _, ms in found] == pytest.approx([cost] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("exponent", "met"), [(0.0, True), (0.9, True), (1.1, False), (2.0, False)]
)
def test_the_exponent_may_be_at_most_1(exponent: float, met: bool) -> None:
    line = line_of(by_cost(lambda nodes: 0.01 * nodes**exponent))
    assert line.value == pytest.approx(exponent, abs=1e-6)
    assert (line.met, line.bound, line.reference) == (met, "≤ 1", None)


def test_the_remark_has_the_cost_of_each_size() -> None:
    message = line_of(by_cost(lambda nodes: nodes / 100)).remarks
    assert message == (
        "0.150 ms at 15 nodes, 0.450 ms at 45 nodes, 1.500 ms at 150 nodes",
        "nothing lost",
    )


@pytest.mark.parametrize("field", ["half_open", "clients_lost", "disturbed"])
@pytest.mark.parametrize("where", [0, -1])
def test_one_incomplete_wave_fails_the_line(field: str, where: int) -> None:
    found = by_cost(lambda _: 0.1)
    last = growth.settings(QUICK)[where]
    found[last][0]["waves"][1][field] = 1
    line = line_of(found)
    assert (line.met, line.remarks[1]) == (False, "NOT complete somewhere")
    assert line.value == pytest.approx(0, abs=1e-6)


def test_every_repetitions_waves_are_fitted() -> None:
    found = by_cost(lambda _: 0.1)
    for setting, (one,) in found.items():
        slower = [wave(w["moved"], 3 * w["seconds"]) for w in one["waves"]]
        found[setting] = [one, {**one, "waves": slower}]
    costs = [ms for _, ms in growth.costs(QUICK, found)]
    assert costs == pytest.approx([0.2] * 3)


def test_one_size_of_cluster_has_a_cost() -> None:
    size = replace(QUICK, growth_chassis=(10,))
    ((nodes, cost),) = growth.costs(size, results("growth", size))
    assert (nodes, cost) == pytest.approx((150, 0.1))
