"""The comparison table of designs, with best and worst, and its conclusions in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.display.render import milliseconds
from experiments.report.data import Report
from experiments.sweep.bootstrap import Median, median
from experiments.sweep.figures import FIGURES, HIGHER, Figure, is_lower_bound
from experiments.sweep.state import FAILED, UNTRUSTED

BEST, WORST = "best", "worst"


class Cell(NamedTuple):
    """One figure of one design: its text, the text of its interval, and its mark."""

    text: str
    interval: str
    mark: str | None


class Line(NamedTuple):
    """The row of one design."""

    design: str
    runs: int
    failed: int
    untrusted: int
    cells: tuple[Cell, ...]


class Comparison(NamedTuple):
    """One table. ``columns``: the figures that were measured for at least one design."""

    caption: str
    columns: tuple[Figure, ...]
    lines: tuple[Line, ...]


class _Result(NamedTuple):
    median: Median
    lower_bound: bool


def compare(report: Report, settings: Sequence[str], caption: str) -> Comparison:
    """Compares all designs over the runs of these settings."""
    results = {
        (design, figure): _result(report, design, settings, figure)
        for design in report.designs
        for figure in FIGURES
    }
    columns = tuple(
        f for f in FIGURES if any(results[d, f].median.n for d in report.designs)
    )
    direction = {
        f: f.better if f.name != "moved" or report.several_balancers else None
        for f in columns
    }
    marks = {
        f: _marks(direction[f], [results[d, f].median.value for d in report.designs])
        for f in columns
    }
    lines = [
        Line(
            design,
            len(report.paired(design, settings)),
            _left_out(report, design, settings, FAILED),
            _left_out(report, design, settings, UNTRUSTED),
            tuple(_cell(f, results[design, f], marks[f][at]) for f in columns),
        )
        for at, design in enumerate(report.designs)
    ]
    return Comparison(caption, columns, tuple(lines))


def _left_out(
    report: Report, design: str, settings: Sequence[str], outcome: str
) -> int:
    """The number of runs of a design that have that outcome, and therefore no figures."""
    return sum(
        e.design == design and e.setting in settings and e.outcome == outcome
        for e in report.entries
    )


def _result(
    report: Report, design: str, settings: Sequence[str], figure: Figure
) -> _Result:
    summaries = [folder.summary for folder in report.paired(design, settings)]
    values = [value for s in summaries if (value := figure.of(s)) is not None]
    return _Result(median(values), any(is_lower_bound(s, figure) for s in summaries))


def _marks(better: str | None, values: Sequence[float | None]) -> list[str | None]:
    """Marks best and worst. No marks if all are equal or no direction is better."""
    measured = [value for value in values if value is not None]
    if better is None or len(set(measured)) < 2:
        return [None] * len(values)
    best, worst = min(measured), max(measured)
    if better == HIGHER:
        best, worst = worst, best
    return [BEST if v == best else WORST if v == worst else None for v in values]


def _cell(figure: Figure, result: _Result, mark: str | None) -> Cell:
    value, low, high = result.median.value, result.median.low, result.median.high
    if value is None:
        return Cell("–", "", None)
    bound = "≥ " if result.lower_bound else ""
    interval = ""
    if low is not None and high is not None and low != high:
        interval = _between(format_figure(figure, low), format_figure(figure, high))
    return Cell(bound + format_figure(figure, value), interval, mark)


def _between(low: str, high: str) -> str:
    """Two figures as a range. A common unit is printed once."""
    number, space, unit = low.partition(" ")
    if space and high.endswith(f" {unit}"):
        low = number
    return f"{low} – {high}" if " " in low else f"{low}–{high}"


def format_figure(figure: Figure, value: float) -> str:
    """A figure as text for people."""
    if figure.unit == "ms":
        return milliseconds(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def findings(report: Report) -> Iterator[str]:
    """The conclusions of the comparison, one sentence each, over all runs with figures."""
    for figure, good, bad in (
        (
            "left",
            "No half-open connection is left by",
            "Half-open connections are left by",
        ),
        ("hung", "No client hangs with", "Clients hang with"),
        (
            "lost",
            "No acknowledged write is lost with",
            "Acknowledged writes are lost with",
        ),
    ):
        yield from _split(report, figure, good, bad)
    same, groups = report.same_moved()
    if groups:
        yield (
            f"The first event moved the same connections under every design in {same} of "
            f"{groups} groups of runs (same event, seed and balancer)."
        )


def _split(report: Report, name: str, good: str, bad: str) -> Iterator[str]:
    figure = next(f for f in FIGURES if f.name == name)
    clean, with_findings = [], []
    for design in report.designs:
        values = [figure.of(run.summary) or 0.0 for run in report.of(design)]
        if values and max(values) == 0:
            clean.append(design)
        elif values:
            with_findings.append(f"{design} ({_range(values)} a run)")
    if clean:
        all_designs = len(report.designs) > 1 and len(clean) == len(report.designs)
        yield f"{good} {'any design' if all_designs else _listed(clean)}."
    if with_findings:
        yield f"{bad} {_listed(with_findings)}."


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
