"""The benchmark's table: formatted numbers, verdicts, remarks, and unreliable figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.figure import Line
from experiments.bench.bench import BenchResult
from experiments.bench.figures import FIGURES
from experiments.bench.table import number, print_result
from tests.experiments.bench.made_up_results import lines_of, results
from topologies.datapaths import KERNEL, USERSPACE

RATIO = Line(
    title="round trip",
    unit="ms",
    ours=1.25,
    reference=1.0,
    reference_is="a bridge",
    value=1.25,
    bound="≤ 1.3x",
    met=True,
    remarks=("quietly",),
    datapath=USERSPACE,
)
ALONE = Line(
    "memory", "GiB", 3.0, value=3.0, bound="≤ 8 GiB", met=True, datapath=USERSPACE
)
EXPECTED = Line("processes", "", 1450.0, datapath=USERSPACE)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide enough that no cell is folded."""
    monkeypatch.setenv("COLUMNS", "200")


def printed(
    capsys: pytest.CaptureFixture[str],
    lines: Mapping[str, Sequence[Line]],
    doubts: Mapping[str, Sequence[str]] | None = None,
    errors: Sequence[str] = (),
) -> str:
    every = {**dict.fromkeys(lines, ()), **(doubts or {})}
    print_result(BenchResult(lines, every, errors, {}))
    return capsys.readouterr().out


def cells(text: str, title: str) -> list[str]:
    """The cells of that figure's row."""
    (row,) = [
        line for line in text.splitlines() if f" {title} " in line and "│" in line
    ]
    return [cell.strip() for cell in row.strip("│").split("│")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "0"),
        (3.0, "3"),
        (1234567.8, "1,234,568"),
        (100.4, "100"),
        (99.96, "100"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.05, "0.05"),
        (0.001, "0.001"),
        (0.00042, "0.00042"),
        (-0.5, "-0.5"),
        (-123.4, "-123"),
    ],
)
def test_numbers_are_formatted(value: float, message: str) -> None:
    assert number(value) == message


@given(st.floats(0.001, 1e12))
def test_a_number_has_three_digits_and_no_exponent(value: float) -> None:
    message = number(value)
    assert re.fullmatch(r"[\d,]+(\.\d+)?", message)
    assert float(message.replace(",", "")) == pytest.approx(value, rel=0.0051)


@given(st.floats(0.001, 1e9), st.floats(0.001, 1e9))
def test_formatting_keeps_the_order_of_numbers(one: float, other: float) -> None:
    less, more = (float(number(v).replace(",", "")) for v in sorted((one, other)))
    assert less <= more


@given(st.floats(0.001, 1e9))
def test_a_negative_number_is_formatted_like_its_absolute_value(value: float) -> None:
    assert number(-value) == f"-{number(value)}"


def test_a_row_has_ratio_bound_verdict_ours_and_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = printed(capsys, {"round-trip": [RATIO], "footprint": [ALONE, EXPECTED]})
    assert cells(shown, "round trip") == [
        "1.25 x",
        "≤ 1.3x",
        "reached",
        "round trip",
        "1.25 ms",
        "1 ms",
    ]
    assert cells(shown, "memory") == ["3", "≤ 8 GiB", "reached", "memory", "3 GiB", ""]
    assert cells(shown, "processes") == ["", "", "", "processes", "1,450", ""]


def test_a_missed_bound_is_printed_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, {"round-trip": [replace(RATIO, met=False)]})
    assert cells(shown, "round trip")[2] == "NOT reached"


def test_remarks_follow_with_the_reference_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = printed(capsys, {"round-trip": [RATIO], "footprint": [ALONE]})
    remarks = [line.strip() for line in shown.splitlines() if line.startswith("  ")]
    assert remarks[-2:] == ["round trip: against a bridge", "round trip: quietly"]
    assert "memory: against" not in shown


def test_every_line_of_an_unreliable_figure_is_marked_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = {"round-trip": [RATIO], "footprint": [ALONE, EXPECTED]}
    shown = printed(capsys, lines, {"footprint": ["one", "two"]})
    assert cells(shown, "round trip")[2] == "reached"
    assert cells(shown, "memory")[2] == "reached unreliable"
    assert cells(shown, "processes")[2] == "unreliable"
    assert "unreliable footprint: one\nunreliable footprint: two\n" in shown


def test_each_datapath_has_a_table_of_its_own_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = replace(RATIO, title="trip in the kernel", datapath=KERNEL)
    shown = printed(capsys, {"round-trip": [other, RATIO]})
    first, second = shown.split("benchmark, userspace datapath")
    assert first.startswith("benchmark, kernel datapath")
    assert "trip in the kernel" in first
    assert "trip in the kernel" not in second
    assert cells(second, "round trip")


def test_failures_come_last(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, {"round-trip": [RATIO]}, errors=["ours, bulk: it broke"])
    assert shown.endswith("failed ours, bulk: it broke\n")


def test_without_results_there_is_no_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printed(capsys, {"beyond": []}) == ""
    assert printed(capsys, {}, errors=["x"]) == "failed x\n"


def test_brackets_in_messages_are_not_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = "[red]Errno 5[/] at [0]"
    line = replace(RATIO, title="trip [bold]", remarks=(message,), reference_is=message)
    shown = printed(
        capsys, {"round-trip": [line]}, {"round-trip": [message]}, [message]
    )
    assert shown.count(message) == 4
    assert cells(shown, "trip [bold]")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figures_lines_can_be_printed(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    lines = [
        replace(line, datapath=USERSPACE) for line in lines_of(name, results(name))
    ]
    shown = printed(capsys, {name: lines})
    for line in lines:
        assert cells(shown, line.title)[1] == line.bound
