"""Colours of the page and its plots, for light and for dark; contrast is checked in tests.

A plot is drawn once, in the light colours. In the page each of them is replaced by its
CSS variable, so that one drawing serves both; files for papers stay light.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Tone(NamedTuple):
    """One role's colour on a light and on a dark page."""

    light: str
    dark: str


#: Role -> colours. No two roles share a light colour: it is what is looked for.
TONES: Mapping[str, Tone] = {
    "paper": Tone("#ffffff", "#0d1117"),
    "panel": Tone("#f6f8fa", "#161b22"),
    "rule": Tone("#d1d9e0", "#30363d"),
    "edge": Tone("#818b98", "#6e7681"),
    "ink": Tone("#1f2328", "#e6edf3"),
    "faint": Tone("#59636e", "#9198a1"),
    "link": Tone("#0550ae", "#79c0ff"),
    "good": Tone("#116329", "#56d364"),
    "bad": Tone("#b31d28", "#ff8b82"),
    "stray": Tone("#9a6700", "#d29922"),
    "reset": Tone("#cf222e", "#ff7b72"),
    "freed": Tone("#1a7f37", "#3fb950"),
    "series-0": Tone("#0969da", "#58a6ff"),
    "series-1": Tone("#bc4c00", "#f0883e"),
    "series-2": Tone("#1a7f36", "#3fb951"),
    "series-3": Tone("#8250df", "#bc8cff"),
    "series-4": Tone("#bf3989", "#f778ba"),
    "series-5": Tone("#0a7e8c", "#39c5cf"),
    "series-6": Tone("#7d6100", "#d2b13a"),
    "series-7": Tone("#a40e26", "#ffa198"),
    "series-8": Tone("#4c4f9e", "#a5a8ff"),
    "series-9": Tone("#57606b", "#b1bac4"),
}
SERIES = 10

#: Designs differ by stroke and by sign too, never by colour alone.
_STROKES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1.2)))
_SIGNS = "osD^vPX*<>"


class Stroke(NamedTuple):
    """How one design is drawn: colour, dashes and sign, as matplotlib has them."""

    colour: str
    dashes: Any
    sign: str


def light(role: str) -> str:
    """The colour in which a role is drawn."""
    return TONES[role].light


def stroke(index: int) -> Stroke:
    """How the design of that number is drawn, from 0."""
    return Stroke(
        light(f"series-{index % SERIES}"),
        _STROKES[index % len(_STROKES)],
        _SIGNS[index % len(_SIGNS)],
    )


def variables(dark: bool) -> str:
    """The CSS declarations of every role."""
    return " ".join(f"--{name}: {tone[int(dark)]};" for name, tone in TONES.items())


def themed(svg: str) -> str:
    """A drawing in light colours, with CSS variables in their place."""
    for name, tone in TONES.items():
        svg = svg.replace(tone.light, f"var(--{name})")
    return svg
