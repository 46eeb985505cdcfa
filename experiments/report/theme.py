"""Colours of the page and its plots, light and dark. Tests check their contrast.

A plot is drawn once, in light colours. In the page, each colour is replaced by its CSS
variable, so one drawing serves both themes. Files for papers stay light.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class ColourPair(NamedTuple):
    """The colours of one role, on a light and on a dark page."""

    light: str
    dark: str


#: Role -> colours. Each light colour has one role: :func:`themed` searches for it.
COLOURS: Mapping[str, ColourPair] = {
    "paper": ColourPair("#ffffff", "#0d1117"),
    "panel": ColourPair("#f6f8fa", "#161b22"),
    "rule": ColourPair("#d1d9e0", "#30363d"),
    "edge": ColourPair("#818b98", "#6e7681"),
    "ink": ColourPair("#1f2328", "#e6edf3"),
    "faint": ColourPair("#59636e", "#9198a1"),
    "link": ColourPair("#0550ae", "#79c0ff"),
    "good": ColourPair("#116329", "#56d364"),
    "bad": ColourPair("#b31d28", "#ff8b82"),
    "stray": ColourPair("#9a6700", "#d29922"),
    "reset": ColourPair("#cf222e", "#ff7b72"),
    "freed": ColourPair("#1a7f37", "#3fb950"),
    "series-0": ColourPair("#0969da", "#58a6ff"),
    "series-1": ColourPair("#bc4c00", "#f0883e"),
    "series-2": ColourPair("#1a7f36", "#3fb951"),
    "series-3": ColourPair("#8250df", "#bc8cff"),
    "series-4": ColourPair("#bf3989", "#f778ba"),
    "series-5": ColourPair("#0a7e8c", "#39c5cf"),
    "series-6": ColourPair("#7d6100", "#d2b13a"),
    "series-7": ColourPair("#a40e26", "#ffa198"),
    "series-8": ColourPair("#4c4f9e", "#a5a8ff"),
    "series-9": ColourPair("#57606b", "#b1bac4"),
}
SERIES = 10

#: Designs also differ in dashes and marker, not only in colour.
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1.2)))
_MARKERS = "osD^vPX*<>"


class LineStyle(NamedTuple):
    """The style of one design: colour, dashes and marker, as matplotlib's values."""

    colour: str
    dashes: Any
    marker: str


def light(role: str) -> str:
    """The light colour of a role."""
    return COLOURS[role].light


def line_style(index: int) -> LineStyle:
    """The style of design number ``index``, from 0."""
    return LineStyle(
        light(f"series-{index % SERIES}"),
        _DASHES[index % len(_DASHES)],
        _MARKERS[index % len(_MARKERS)],
    )


def variables(dark: bool) -> str:
    """The CSS declarations of every role."""
    return " ".join(f"--{name}: {pair[int(dark)]};" for name, pair in COLOURS.items())


def themed(svg: str) -> str:
    """Replaces the light colours in an SVG by CSS variables."""
    for name, pair in COLOURS.items():
        svg = svg.replace(pair.light, f"var(--{name})")
    return svg
