"""Renders plots: wide and narrow SVG for the page, SVG and PDF files for papers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.files.handover import make_folders
from experiments.files.whole_file import write_whole
from experiments.report.theme import light, themed

#: Inches. The page scales both to its column: 9 on a desktop, 3.9 on a phone.
WIDE, NARROW = 9.0, 3.9

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and restyled
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": light("edge"),
    "axes.labelcolor": light("ink"),
    "axes.titlecolor": light("ink"),
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": light("rule"),
    "grid.linewidth": 0.6,
    "text.color": light("ink"),
    "xtick.color": light("edge"),
    "ytick.color": light("edge"),
    "xtick.labelcolor": light("faint"),
    "ytick.labelcolor": light("faint"),
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "figure.facecolor": light("paper"),
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
}

_SHOWN = "picture"

#: Draws into a figure; the second argument tells if it is narrow.
Draw = Callable[[Figure, bool], None]


class Plot(NamedTuple):
    """One plot of the page. ``what``: a text alternative."""

    name: str
    title: str
    what: str
    wide: str
    narrow: str


def plot(name: str, title: str, what: str, draw: Draw, files: Path) -> Plot:
    """Draws a plot for the page; writes it as ``NAME.svg`` and ``NAME.pdf`` to ``files``."""
    make_folders(files)
    with _settings(name):
        figure = _drawn(draw, narrow=False)
        wide = _svg(figure)
        paper = io.BytesIO()
        figure.savefig(paper, format="pdf", metadata={"CreationDate": None})
    write_whole(files / f"{name}.pdf", paper.getvalue())
    write_whole(files / f"{name}.svg", wide.encode())
    with _settings(f"{name}-narrow"):
        narrow = _svg(_drawn(draw, narrow=True))
    return Plot(
        name, title, what, _inline(wide, name), _inline(narrow, f"{name}-narrow")
    )


class Picture(Figure):
    """A figure that a notebook shows as SVG, whatever backend matplotlib has there."""

    def _repr_svg_(self) -> str:
        """Called by IPython."""
        with _settings(_SHOWN):
            return _svg(self)


def picture(draw: Draw) -> Picture:
    """Draws a plot as the page has it, to be shown, changed or saved.

    It belongs to no window and to no state of pyplot.
    """
    with _settings(_SHOWN):
        figure = Picture(figsize=(WIDE, 3), layout="constrained")
        draw(figure, False)
    return figure


def _settings(name: str) -> AbstractContextManager[None]:
    """The settings of all plots. Ids in the SVG are deterministic."""
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    return matplotlib.rc_context(settings)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _drawn(draw: Draw, *, narrow: bool) -> Figure:
    figure = Figure(figsize=(NARROW if narrow else WIDE, 3), layout="constrained")
    draw(figure, narrow)
    return figure


def grid(
    figure: Figure, count: int, columns: int, height: float, **options: Any
) -> list[Axes]:
    """``count`` panels in ``columns``, each ``height`` inches high."""
    rows = -(-count // columns)
    figure.set_figheight(rows * height)
    panels = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for spare in panels[count:]:
        spare.set_visible(False)
    return panels[:count]


def milliseconds_axis(panel: Axes, values: Sequence[float]) -> None:
    """Sets a logarithmic axis in ms, with suitable labels for the values above 0."""
    values = [value for value in values if value > 0]
    span = max(values) / min(values) if values else 1.0
    panel.set_xscale("log")
    steps = (1.0, 2.0, 5.0) if span < 30 else (1.0,)
    panel.xaxis.set_major_locator(LogLocator(subs=steps, numticks=6))
    panel.xaxis.set_major_formatter(tick)
    panel.xaxis.set_minor_formatter(NullFormatter())


def tick(value: float, _at: float) -> str:
    """The label of a tick on a logarithmic axis in ms: s, ms or µs."""
    if value >= 1000:
        return f"{value / 1000:g} s"
    return f"{value:g} ms" if value >= 1 else f"{value * 1000:g} µs"


def _inline(svg: str, name: str) -> str:
    """Prepares an SVG for a page with several SVGs: CSS colours, unique ids.

    Removes unused ids and the fixed size, which the page sets.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))
    body = re.sub(
        r' id="([^"]+)"',
        lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "",
        body,
    )
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", body)
    body = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", body, count=1)
    body = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", body, count=1)
    return themed(body.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1))
