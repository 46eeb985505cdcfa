"""Distributions of half-open lifetime and reset latency by design, a panel per setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.canvas import Draw, grid, milliseconds_axis
from experiments.report.data import Report
from experiments.report.survival import Curve, ended_share, quantile
from experiments.report.theme import LineStyle, light, line_style
from experiments.results.run_folder import RunFolder

#: Times in ms. The second value tells if the time is a lower bound.
Times = list[tuple[float, bool]]


class Sample(NamedTuple):
    """The measurements of one design in one setting, over all its runs."""

    setting: str
    design: str
    n: int
    censored: int
    p50: float | None
    p90: float | None
    longest: float | None
    curve: Curve


def lifetimes(folder: RunFolder) -> Times:
    """How long each connection of a run was half open."""
    spans = (row.half_open for row in folder.rows)
    return [(span.lifetime_ms, span.censored) for span in spans if span]


def latencies(folder: RunFolder) -> Times:
    """The time from each client's first stray segment to its reset."""
    times = (row.fields["reset_latency_ms"] for row in folder.rows)
    return [(ms, False) for ms in times if ms is not None and ms > 0]


def samples(report: Report, measure: Callable[[RunFolder], Times]) -> list[Sample]:
    """Every design in every setting, settings first."""
    return [
        _sample(setting, design, [t for f in folders for t in measure(f)])
        for setting in report.settings
        for design in report.designs
        if (folders := report.of(design, (setting,)))
    ]


def _sample(setting: str, design: str, times: Times) -> Sample:
    curve = ended_share(times)
    return Sample(
        setting,
        design,
        len(times),
        sum(censored for _, censored in times),
        quantile(curve, 0.5),
        quantile(curve, 0.9),
        max((time for time, _ in times), default=None),
        curve,
    )


def drawing(report: Report, found: Sequence[Sample], axis: str, kept: str) -> Draw:
    """Draws the samples as distribution functions. ``kept``: the legend of the marks."""
    styles = {design: line_style(i) for i, design in enumerate(report.designs)}
    settings = [
        s for s in report.settings if any(f.setting == s and f.n for f in found)
    ]

    def draw(figure: Figure, narrow: bool) -> None:
        columns = 1 if narrow else min(3, max(1, len(settings)))
        height = 2.3 if narrow else (3.0 if len(settings) < 4 else 2.5)
        panels = grid(
            figure, max(1, len(settings)), columns, height, sharex=True, sharey=True
        )
        for panel, setting in zip(
            panels, settings or ("nothing was measured",), strict=True
        ):
            _panel(panel, setting, [f for f in found if f.setting == setting], styles)
        times = [t for f in found for t, _ in (*f.curve.steps, *f.curve.marks)]
        for panel in panels:
            milliseconds_axis(panel, times)
        panels[0].set_ylabel("share of connections")
        figure.supxlabel(axis, fontsize=8.5)
        _legend(figure, styles, found, kept, narrow)

    return draw


def _panel(
    panel: Axes, setting: str, found: Sequence[Sample], styles: Mapping[str, LineStyle]
) -> None:
    panel.set_title(setting)
    panel.set_ylim(-0.04, 1.05)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
    for sample in found:
        if sample.n:
            _curve(panel, sample, styles[sample.design])


def _curve(panel: Axes, sample: Sample, style: LineStyle) -> None:
    steps, marks = sample.curve
    ends = [time for time, _ in (*steps, *marks)]
    times = [min(ends) / 1.3, *(time for time, _ in steps), max(ends)]
    shares = [0.0, *(share for _, share in steps)]
    panel.step(
        times,
        [*shares, shares[-1]],
        where="post",
        color=style.colour,
        linestyle=style.dashes,
    )
    if marks:
        panel.plot(
            *zip(*marks, strict=True),
            linestyle="none",
            marker=">",
            markersize=6,
            markerfacecolor=light("paper"),
            markeredgecolor=style.colour,
            clip_on=False,
            zorder=4,
        )


def _legend(
    figure: Figure,
    styles: Mapping[str, LineStyle],
    found: Sequence[Sample],
    kept: str,
    narrow: bool,
) -> None:
    drawn = [d for d in styles if any(f.design == d and f.n for f in found)]
    lines = [
        Line2D([], [], color=styles[d].colour, linestyle=styles[d].dashes, label=d)
        for d in drawn
    ]
    if any(f.censored for f in found):
        lines.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker=">",
                markerfacecolor=light("paper"),
                markeredgecolor=light("ink"),
                label=kept,
            )
        )
    if lines:
        figure.legend(
            handles=lines,
            loc="outside upper left",
            ncols=2 if narrow else 6,
            handlelength=2.6,
        )
