"""Reasons why a figure is unreliable: other processes, or a busy machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.figure import Setting
from experiments.bench.figures import FIGURES
from experiments.bench.reliability import (
    MAX_BUSY_WHEN_QUIET,
    MAX_DELAY_WHEN_QUIET_MS,
    MAX_OTHERS,
    MAX_STEAL,
    QUIET,
    unreliable_reasons,
)
from tests.experiments.bench.made_up_results import IDLE_LOAD

OURS = Setting("ours", 10, 15, 4, "kernel")
STOCK = Setting("stock", 10, 15, 4, "kernel")
LIMITS = {
    "strangers": MAX_OTHERS,
    "stolen": MAX_STEAL,
    "busy": MAX_BUSY_WHEN_QUIET,
    "late_p99_ms": MAX_DELAY_WHEN_QUIET_MS,
}
ALWAYS = ("strangers", "stolen")


def measured(figure: str, **load: float) -> dict[str, Any]:
    return {"figures": {figure: {"found": {}, "load": {**IDLE_LOAD, **load}}}}


def reasons(figure: str, **load: float) -> list[str]:
    return list(unreliable_reasons(figure, {OURS: [measured(figure, **load)]}))


@pytest.mark.parametrize("figure", FIGURES)
def test_on_a_quiet_machine_every_figure_is_reliable(figure: str) -> None:
    assert reasons(figure) == []


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("what", LIMITS)
def test_a_value_at_its_limit_is_reliable_and_one_above_is_not(
    figure: str, what: str
) -> None:
    counts = what in ALWAYS or figure in QUIET
    assert reasons(figure, **{what: LIMITS[what]}) == []
    assert len(reasons(figure, **{what: LIMITS[what] * 1.01})) == counts


def test_the_figures_for_a_quiet_cluster_are_registered() -> None:
    assert set(QUIET) <= set(FIGURES)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ({"strangers": 0.254}, "other processes took 25% of the machine"),
        ({"stolen": 0.5}, "other machines took 50% of this one"),
        ({"busy": 0.97}, "the machine was 97% busy"),
        ({"late_p99_ms": 7.25}, "clocks ran 7.2 ms late"),
    ],
)
def test_each_reason_has_its_text(load: dict[str, float], message: str) -> None:
    assert reasons("round-trip", **load) == [
        f"ours 10x15 kernel, repetition 1: {message}"
    ]


@given(
    st.fixed_dictionaries(
        {what: st.floats(0, 2 * most) for what, most in LIMITS.items()}
    )
)
def test_every_reason_has_a_sentence(load: dict[str, float]) -> None:
    above = {what for what, value in load.items() if value > LIMITS[what]}
    assert len(reasons("round-trip", **load)) == len(above)
    assert len(reasons("bulk", **load)) == len(above & set(ALWAYS))


def test_a_reason_names_network_and_repetition() -> None:
    idle, busy = measured("bulk"), measured("bulk", stolen=0.2)
    found = unreliable_reasons("bulk", {OURS: [idle, idle, busy], STOCK: [busy]})
    assert [reason.partition(": ")[0] for reason in found] == [
        "ours 10x15 kernel, repetition 3",
        "stock 10x15 kernel, repetition 1",
    ]


def test_the_load_of_another_figure_does_not_count() -> None:
    assert unreliable_reasons("growth", {OURS: [measured("bulk", stolen=0.9)]}) == []


def test_a_failed_figure_has_no_reasons() -> None:
    failed = {"figures": {"bulk": {"error": "it broke"}}}
    assert unreliable_reasons("bulk", {OURS: [failed], STOCK: []}) == []
