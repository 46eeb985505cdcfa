"""The style of a ladder diagram: colours for light and dark pages, and fonts.

librsvg and other simple viewers do not support the media query: they show light colours.
"""

from __future__ import annotations

from collections.abc import Mapping

from experiments.ladder.ladder import FAILED, FREED, RESET, STRAY, TIER1, TIER2

#: Light and dark colour of each class, for stroke or fill.
_COLOURS: Mapping[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#656d76", "#8d96a0"),
    "line": ("#afb8c1", "#484f58"),
    "guide": ("#eaeef2", "#1c2128"),
    "panel": ("#f6f8fa", "#151b23"),
    "head": ("#ffffff", "#21262d"),
    STRAY: ("#9a6700", "#d29922"),
    RESET: ("#cf222e", "#ff7b72"),
    TIER1: ("#8250df", "#bc8cff"),
    TIER2: ("#0969da", "#58a6ff"),
    FREED: ("#1a7f37", "#3fb950"),
    FAILED: ("#656d76", "#8d96a0"),
}

_SHAPES = """\
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 12px }
.title { font-size: 18px; font-weight: 600 }
.time, .words { font-size: 12px; font-variant-numeric: tabular-nums }
.name, .node { font-size: 13px; font-weight: 600 }
.node { font-weight: 400 }
.note, .small { font-size: 11px }
.element { font-weight: 700; font-size: 11px }
.guide, .line, .head, .arrow { stroke-width: 1; fill: none }
.arrow { stroke-width: 1.8 }
.arrow.tier-1, .arrow.tier-2 { stroke-dasharray: 5 3 }
.stroke { fill: none; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
.held { stroke-width: 3 }
.owner.head, .second.head { stroke-width: 2 }
"""


def stylesheet() -> str:
    """The ``<style>`` element of the drawing."""
    light, dark = (_palette(index) for index in (0, 1))
    return (
        f"<style>\n{_SHAPES}{light}"
        f"@media (prefers-color-scheme: dark) {{\n{dark}}}\n</style>"
    )


def _palette(index: int) -> str:
    colour = {name: pair[index] for name, pair in _COLOURS.items()}
    rules = [
        f"text, .title {{ fill: {colour['ink']} }}",
        f".time, .small, .note, .element {{ fill: {colour['faint']} }}",
        f".paper {{ fill: {colour['paper']} }}",
        f".panel {{ fill: {colour['panel']} }}",
        f".head {{ fill: {colour['head']}; stroke: {colour['line']} }}",
        f".busy {{ fill: {colour['panel']}; stroke: {colour['line']} }}",
        f".line {{ stroke: {colour['line']} }}",
        f".guide {{ stroke: {colour['guide']} }}",
        f".stroke {{ stroke: {colour['paper']} }}",
        f".held {{ fill: {colour['paper']} }}",
        f".owner.head {{ stroke: {colour[FREED]} }}",
        f".second.head {{ stroke: {colour[RESET]} }}",
        f".note.owner {{ fill: {colour[FREED]} }}",
        f".note.second {{ fill: {colour[RESET]} }}",
    ]
    for kind in (STRAY, RESET, TIER1, TIER2, FREED, FAILED):
        rules.append(f".arrow.{kind}, .held.{kind} {{ stroke: {colour[kind]} }}")
        rules.append(f".tip.{kind}, .sign.{kind} {{ fill: {colour[kind]} }}")
    return "\n".join(rules) + "\n"
