"""The overview of all designs: a dot for each run, the median and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import Draw, grid, milliseconds_axis
from experiments.report.data import Report
from experiments.report.theme import light, line_style
from experiments.sweep.bootstrap import median
from experiments.sweep.figures import FIGURES
from experiments.sweep.figures import Figure as Quantity

_SHOWN = ("hung", "left", "lifetime", "latency", "copies")
#: Designs with longer names leave too little room for all panels in a row.
_LONGEST_IN_A_ROW = 14
_COLUMNS_OF_LONG_NAMES = 3
#: A time that is shorter is drawn here, on its logarithmic axis: ``proactive`` may reset a
#: client before its first stray arrives, which is less than nothing.
_LEAST_MS = 0.001


def drawing(report: Report, settings: Sequence[str]) -> Draw:
    """Draws the most important figures, over the runs of those settings."""
    quantities = [figure for figure in FIGURES if figure.name in _SHOWN]

    def draw(figure: Figure, narrow: bool) -> None:
        height = 0.75 + 0.27 * len(report.designs)
        long = max(map(len, report.designs)) > _LONGEST_IN_A_ROW
        columns = _COLUMNS_OF_LONG_NAMES if long else len(quantities)
        columns = 1 if narrow else columns
        panels = grid(figure, len(quantities), columns, height, sharey=True)
        for panel, quantity in zip(panels, quantities, strict=True):
            _panel(panel, report, quantity, settings)
        panels[0].set_ylim(len(report.designs) - 0.45, -0.55)

    return draw


def _panel(
    panel: Axes, report: Report, quantity: Quantity, settings: Sequence[str]
) -> None:
    panel.set_title(
        quantity.title.replace("Half-open lifetime", "Lifetime"), fontsize=8.5
    )
    panel.set_yticks(range(len(report.designs)), report.designs)
    panel.tick_params(axis="y", length=0, labelcolor=light("ink"))
    panel.grid(axis="y", visible=False)
    if quantity.unit:
        milliseconds_axis(
            panel,
            [v for d in report.designs for v in _values(report, d, quantity, settings)],
        )
    biggest = 0.0
    for at, design in enumerate(report.designs):
        values = _values(report, design, quantity, settings)
        biggest = max([biggest, *values])
        _row(panel, at, values)
    if not quantity.unit:
        panel.set_xlim(-0.05 * max(1.0, biggest), 1.12 * max(1.0, biggest))


def _values(
    report: Report, design: str, quantity: Quantity, settings: Sequence[str]
) -> list[float]:
    found = (quantity.of(run.summary) for run in report.paired(design, settings))
    values = [value for value in found if value is not None]
    return [max(value, _LEAST_MS) for value in values] if quantity.unit else values


def _row(panel: Axes, at: int, values: Sequence[float]) -> None:
    """Draws one design: interval and median, and its runs as dots below."""
    style = line_style(at)
    middle = median(values)
    if middle.value is None:
        across = panel.get_yaxis_transform()
        quiet: Any = {"ha": "center", "va": "center", "color": light("faint")}
        panel.text(0.5, at, "none measured", transform=across, fontsize=7.5, **quiet)
        return
    if middle.low is not None and middle.high is not None:
        ends = [middle.low, middle.high]
        panel.plot(ends, [at, at], color=style.colour, linewidth=1.8, zorder=3)
    marker: Any = {
        "marker": style.marker,
        "markersize": 7,
        "markeredgecolor": light("paper"),
    }
    panel.plot(
        [middle.value], [at], color=style.colour, clip_on=False, zorder=4, **marker
    )
    dots: Any = {"marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.55}
    below = [at + 0.27] * len(values)
    panel.plot(
        values, below, linestyle="none", color=style.colour, clip_on=False, **dots
    )
