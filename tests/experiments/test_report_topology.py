"""The plot of the cluster keeps its text legible at every size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.report import topology
from experiments.report.canvas import NARROW, WIDE, plot
from experiments.report.topology import NodeChange, NodeView

POINTS = 72
#: CSS pixels of the page's column on a desktop and on a phone.
DESKTOP_PX, PHONE_PX = 1150, 330
#: Of text, in CSS pixels: below this, phones' readers have to enlarge the page.
LEAST_PX = 7.0


def cluster(chassis: int, nodes: int) -> list[NodeChange]:
    """Chassis 1 gives up a node with connections half open on it; the last is new."""
    found = []
    for c in range(1, chassis + 1):
        for n in range(1, nodes + 1):
            drained, new = (c, n) == (1, 1), c == chassis
            before = topology.ABSENT if new else topology.IN_SERVICE
            after = topology.DRAINED if drained else topology.IN_SERVICE
            state = topology.NEW if new else after
            kept = 12 if drained else 0
            name, of = f"c{c}n{n}", f"c{c}"
            found.append(
                NodeChange(
                    NodeView(name, of, before, 100, 0),
                    NodeView(name, of, state, 100, kept),
                )
            )
    return found


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def width_pt(svg: str) -> float:
    found = re.search(r'viewBox="0 0 ([0-9.]+) ', svg)
    assert found
    return float(found[1])


@pytest.mark.parametrize(("chassis", "nodes"), [(2, 3), (6, 2), (10, 4)], ids=str)
def test_text_is_as_large_in_a_large_cluster(
    chassis: int, nodes: int, tmp_path: Path
) -> None:
    drawn = topology.drawing(cluster(chassis, nodes))
    made = plot("topology", "Cluster", "both states", drawn, tmp_path)
    for svg, inches, column in (
        (made.wide, WIDE, DESKTOP_PX),
        (made.narrow, NARROW, PHONE_PX),
    ):
        assert width_pt(svg) == pytest.approx(inches * POINTS)
        styles = re.findall(r'<text style="([^"]*)"', svg)
        sizes = [
            float(px) for style in styles for px in re.findall(r"([0-9.]+)px", style)
        ]
        assert min(sizes) * column / width_pt(svg) >= LEAST_PX
        shown = texts(svg)
        assert shown.count(f"c{chassis}") == 2
        assert sum("12 half open" in text for text in shown) == 1
        assert sum(re.fullmatch(r"(c\d+)?n\d+", t) is not None for t in shown) == (
            2 * chassis * nodes
        )


def test_a_wide_cluster_is_cut_into_bands_of_like_length() -> None:
    names = [f"c{n}" for n in range(1, 12)]
    bands = topology._bands(names, 10)
    assert [len(band) for band in bands] == [6, 5]
    assert [name for band in bands for name in band] == names
