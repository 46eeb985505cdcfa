"""Curves of the benchmark: growth of the mass reset, distributions of latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from experiments.bench.basis.figure import Results, Setting
from experiments.bench.basis.fit import power_law
from experiments.bench.basis.not_computable import NotComputableError
from experiments.bench.basis.size import Size
from experiments.bench.figures import growth


def draw_curves(size: Size, results: Mapping[str, Results], folder: Path) -> None:
    """Draw all curves that have points, each as SVG and PNG."""
    if _has_growth(size, results.get("growth", {})):
        _draw_growth(size, results["growth"], folder / f"growth-{size.datapath}")
    samples = list(_samples(size, results))
    if samples:
        _draw_latencies(samples, folder / f"latency-{size.datapath}")


def _has_growth(size: Size, results: Results) -> bool:
    """Whether there is a law to be drawn; where none follows, the result says so."""
    if not all(setting in results for setting in growth.settings(size)):
        return False
    try:
        power_law(growth.costs(size, results))
    except NotComputableError:
        return False
    return True


def _draw_growth(size: Size, results: Results, path: Path) -> None:
    figure, (over_resets, over_nodes) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for setting in growth.settings(size):
        waves = [w for one in results[setting] for w in one["waves"]]
        points = sorted((w["moved"], w["seconds"]) for w in waves)
        _plot(over_resets, points, f"{results[setting][0]['nodes']} nodes", "o-")
    over_resets.set(
        xlabel="connections that moved", ylabel="first stray to last end, s"
    )
    costs = growth.costs(size, results)
    law = power_law(costs)
    _plot(over_nodes, costs, "measured", "o")
    fit = [(nodes, law.at(nodes)) for nodes, _ in costs]
    _plot(over_nodes, fit, f"fit: nodes to the power of {law.exponent:.2f}", "-")
    first = costs[0]
    linear = [(n, first[1] * n / first[0]) for n, _ in costs]
    _plot(over_nodes, linear, "as fast as the nodes", "k:")
    over_nodes.set(xlabel="nodes", ylabel="time for one more reset, ms")
    for axes in (over_resets, over_nodes):
        axes.set(xscale="log", yscale="log")
    # Ticks at the measured points; those of a whole decade would overlap.
    over_nodes.set_xticks([nodes for nodes, _ in costs], minor=False)
    over_nodes.set_yticks([cost for _, cost in costs], minor=False)
    for axis in (over_nodes.xaxis, over_nodes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    for axis in (over_nodes.xaxis, over_nodes.yaxis, over_resets.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    _save(figure, (over_resets, over_nodes), path)


def _samples(
    size: Size, results: Mapping[str, Results]
) -> Sequence[tuple[str, Sequence[float]]]:
    """(label, latencies in ms) of the first repetition."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock-tso"))
    selected = (
        ("round-trip", stock, "sample_ms", "round trip, one learning bridge"),
        ("round-trip", ours, "sample_ms", "round trip through both tiers"),
        ("reset-latency", ours, "reset_sample_ms", "request to reset"),
    )
    return [
        (label, results[figure][setting][0][key])
        for figure, setting, key, label in selected
        if setting in results.get(figure, {}) and results[figure][setting][0][key]
    ]


def _draw_latencies(samples: Sequence[tuple[str, Sequence[float]]], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for label, values in samples:
        ordered = sorted(values)
        points = [(v, (i + 1) / len(ordered)) for i, v in enumerate(ordered)]
        _plot(axes, points, label, "-")
    axes.set(xscale="log", xlabel="ms", ylabel="share of requests")
    _save(figure, (axes,), path)


def _plot(
    axes: Axes, points: Sequence[tuple[float, float]], label: str, style: str
) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], style, label=label)


def _save(figure: Any, every: Sequence[Axes], path: Path) -> None:
    for axes in every:
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.tight_layout()
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=120)
    pyplot.close(figure)
