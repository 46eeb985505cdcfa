"""Plots of a computation, in the style of the report's: SVG and PDF files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.report.canvas import Draw, Plot, grid, plot
from experiments.report.theme import light, line_style

#: Title and course of each panel.
PANELS = (
    ("half-open", "half_open"),
    ("broken until then", "broken"),
    ("locks of nobody", "locks_of_nobody"),
    ("on a detour", "detours"),
)
#: More events than these are not marked: they would hide the lines.
_MARKED = 40


def write_plots(summaries: Sequence[Mapping[str, Any]], files: Path) -> list[Plot]:
    """The course over time, and how long half-open connections last."""
    courses = "Half-open, broken, locks of nobody and detours over time, by policy."
    shares = "How long half-open connections last: quantiles, by policy."
    return [
        plot("courses", "Over time", courses, _courses(summaries), files),
        plot("lifetimes", "Half-open lifetimes", shares, _lifetimes(summaries), files),
    ]


def _courses(summaries: Sequence[Mapping[str, Any]]) -> Draw:
    def draw(figure: Figure, narrow: bool) -> None:
        panels = grid(figure, len(PANELS), 1 if narrow else 2, 2.2, sharex=True)
        for panel, (title, name) in zip(panels, PANELS, strict=True):
            panel.set_title(title)
            for number, summary in enumerate(summaries):
                style, course = line_style(number), summary["course"]
                panel.step(
                    *(course["t_s"], course[name]),
                    where="pre",
                    color=style.colour,
                    linestyle=style.dashes,
                    label=summary["policy"],
                )
            panel.set_ylim(bottom=0)
            if len(summaries[0]["events"]) <= _MARKED:
                for event in summaries[0]["events"]:
                    panel.axvline(event["at"], color=light("edge"), linewidth=0.6)
        panels[-1].set_xlabel("seconds")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)

    return draw


def _lifetimes(summaries: Sequence[Mapping[str, Any]]) -> Draw:
    def draw(figure: Figure, narrow: bool) -> None:
        (panel,) = grid(figure, 1, 1, 2.8)
        for number, summary in enumerate(summaries):
            shares = summary["half_open"]["lifetime_ms"]
            if shares["p50"] is None:
                continue
            style = line_style(number)
            panel.plot(
                list(shares),
                list(shares.values()),
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                label=summary["policy"],
            )
        panel.set_yscale("log")
        panel.set_ylabel("ms")
        panel.legend(ncols=1 if narrow else 2)

    return draw
