"""The benchmark's curves: those for which there are results, and what is drawn in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

from experiments.bench import curves
from experiments.bench.basis.figure import Results, Setting
from experiments.bench.basis.size import QUICK
from experiments.bench.curves import draw_curves
from experiments.bench.figures import growth
from tests.experiments.bench.made_up_results import changed, results, wave
from topologies.datapaths import KERNEL, USERSPACE

SIZE = QUICK.on(USERSPACE)
Drawn = dict[str, list[tuple[float, float]]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Label -> points, of every curve that is drawn."""
    found: Drawn = {}
    plot = curves._plot

    def recorded(axes: Axes, points: Any, label: str, style: str) -> None:
        found[label] = list(points)
        plot(axes, points, label, style)

    monkeypatch.setattr(curves, "_plot", recorded)
    return found


def every(*names: str) -> dict[str, Results]:
    return {name: results(name, SIZE) for name in names}


def without(given: Mapping[str, Results], kind: str) -> dict[str, Results]:
    return {
        name: {s: found for s, found in by_setting.items() if s.kind != kind}
        for name, by_setting in given.items()
    }


def test_each_curve_is_written_as_svg_and_png(tmp_path: Path) -> None:
    draw_curves(SIZE, every("growth", "round-trip", "reset-latency"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "growth-userspace.png",
        "growth-userspace.svg",
        "latency-userspace.png",
        "latency-userspace.svg",
    ]
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in tmp_path.glob("*.svg"):
        assert "<svg" in path.read_text("utf-8")
    assert pyplot.get_fignums() == [], "every one is closed"


@pytest.mark.parametrize("given", [{}, {"growth": {}}, every("bulk", "footprint")])
def test_without_points_there_is_no_curve(
    given: Mapping[str, Results], tmp_path: Path
) -> None:
    draw_curves(SIZE, given, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_datapaths_results_are_not_drawn(tmp_path: Path) -> None:
    draw_curves(QUICK.on(KERNEL), every("growth", "round-trip"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_growth_without_one_of_its_clusters_is_not_drawn(tmp_path: Path) -> None:
    found = results("growth", SIZE)
    del found[growth.settings(SIZE)[1]]
    draw_curves(SIZE, {"growth": found}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("waves", [[wave(0)], [wave(9, 0.9), wave(99, 0.1)]])
def test_growth_without_a_power_law_is_not_drawn(
    tmp_path: Path, waves: list[Any]
) -> None:
    """Nothing moved; or the more moved, the sooner it was over."""
    found = changed(results("growth", SIZE), "ours", waves=waves)
    draw_curves(SIZE, {**every("round-trip"), "growth": found}, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"latency-userspace"}


def test_latencies_without_a_sample_are_not_drawn(tmp_path: Path, drawn: Drawn) -> None:
    found = changed(results("reset-latency", SIZE), "ours", reset_sample_ms=[])
    draw_curves(SIZE, {"reset-latency": found}, tmp_path)
    assert (drawn, list(tmp_path.iterdir())) == ({}, [])


def test_growth_has_a_curve_for_each_cluster_and_the_fit(
    tmp_path: Path, drawn: Drawn
) -> None:
    draw_curves(SIZE, every("growth"), tmp_path)
    for nodes in (15, 45, 150):
        assert drawn[f"{nodes} nodes"] == [(100, 0.01), (1000, 0.1)]
    assert [nodes for nodes, _ in drawn["measured"]] == [15, 45, 150]
    assert [cost for _, cost in drawn["measured"]] == pytest.approx([0.1] * 3)
    linear = [y for _, y in drawn["as fast as the nodes"]]
    assert linear == pytest.approx([0.1, 0.3, 1.0])
    (fit,) = [label for label in drawn if label.startswith("fit")]
    assert abs(float(fit.rpartition(" ")[2])) == 0
    assert [y for _, y in drawn[fit]] == pytest.approx([0.1] * 3)


def test_waves_are_sorted_by_size(tmp_path: Path, drawn: Drawn) -> None:
    found = results("growth", SIZE, repetitions=2)
    for repetitions in found.values():
        repetitions[0]["waves"] = repetitions[0]["waves"][::-1]
    draw_curves(SIZE, {"growth": found}, tmp_path)
    assert [x for x, _ in drawn["15 nodes"]] == [100, 100, 1000, 1000]


def test_latencies_are_shares_of_all_requests(tmp_path: Path, drawn: Drawn) -> None:
    found = results("round-trip", SIZE)
    found[Setting.array("ours", SIZE)][0]["sample_ms"] = [3.0, 1.0, 2.0]
    draw_curves(SIZE, {"round-trip": found}, tmp_path)
    points = drawn["round trip through both tiers"]
    assert [x for x, _ in points] == [1.0, 2.0, 3.0]
    assert [y for _, y in points] == pytest.approx([1 / 3, 2 / 3, 1])
    assert drawn["round trip, one learning bridge"][-1] == (1.5, 1.0)
    assert "request to reset" not in drawn


def test_latencies_are_drawn_without_the_reference(
    tmp_path: Path, drawn: Drawn
) -> None:
    given = without(every("round-trip", "reset-latency"), "stock-tso")
    draw_curves(SIZE, given, tmp_path)
    assert set(drawn) == {"round trip through both tiers", "request to reset"}
