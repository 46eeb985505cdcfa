"""The ladder diagram: its content, and both drawings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from experiments.ladder.ladder import (
    FAILED,
    FREED,
    HELD,
    NODE,
    OTHERS,
    TIER1,
    TIER2,
    Ladder,
    LadderError,
    choose,
    ladder,
)
from experiments.ladder.svg import ladder_svg
from experiments.ladder.text import WIDTH, format_offset, ladder_text
from tests.experiments.scale_out import ScaleOut

SIZES = [(2, 3, 40), (4, 6, 80), (10, 15, 80)]
SVG = "{http://www.w3.org/2000/svg}"


def diagram(
    chassis: int = 2, nodes: int = 3, connections: int = 40, policy: str = "flood"
) -> Ladder:
    run = ScaleOut.build(chassis, nodes, connections, policy)
    return ladder(choose(run.cases()), run.path.plan)


def test_one_column_for_each_host_and_switch() -> None:
    names = " ".join(column.name for column in diagram().columns)
    assert names == "h1 fabric c1 c1n1 c1n2 c1n3 c2 c2n1 c2n2 c2n3"


def test_owner_and_second_node_are_marked_differently() -> None:
    found = {c.note: c.name for c in diagram().columns if c.note}
    assert set(found) == {"client", "owner", "second node"}
    assert found["owner"] != found["second node"]


def test_arrows_are_in_the_order_of_the_claim() -> None:
    kinds = [arrow.kind for arrow in diagram().arrows]
    assert kinds[:5] == ["stray", "reset", "client-copy", "tier-1", "tier-1"]
    assert kinds[5:] == ["tier-2"] * 6


def test_an_owner_that_is_not_freed_is_marked() -> None:
    assert [m.kind for m in diagram().marks] == ["client-reset", FREED]
    assert [m.kind for m in diagram(policy="client-only").marks] == [
        "client-reset",
        HELD,
    ]
    assert [m.kind for m in diagram(policy="drop").marks] == [HELD, HELD]


def test_a_failed_owner_has_no_freeing() -> None:
    run = ScaleOut.build(connections=40)
    case = choose(run.cases())
    failed = replace(case, outcome=replace(case.outcome, owner_failed=True))
    marks = ladder(failed, run.path.plan).marks
    assert [mark.kind for mark in marks] == ["client-reset", FAILED]
    assert choose([failed, case]) is case


def test_a_cut_off_owner_can_only_free_its_end_by_itself() -> None:
    run = ScaleOut.build(connections=40)
    case = choose(run.cases())
    away = replace(case, outcome=replace(case.outcome, owner_out_of_reach=True))
    diagram = ladder(away, run.path.plan)
    (freed,) = [mark for mark in diagram.marks if mark.kind == FREED]
    assert freed.text.endswith("frees the connection, by itself")
    assert freed.element == ""
    assert choose([away, case]) is case
    assert max(map(len, ladder_text(diagram).splitlines())) <= WIDTH


@pytest.mark.parametrize("most", [8, 12, 24, 30])
def test_narrowing_keeps_the_involved_nodes_and_merges_the_others(most: int) -> None:
    whole = diagram(10, 15, 80)
    narrow = whole.narrowed_to(most)
    assert len(narrow.columns) <= most
    assert {c.name for c in whole.columns if c.note} <= {c.name for c in narrow.columns}
    for column in whole.columns:
        assert 0 <= narrow.index(column.name) < len(narrow.columns)
    reported = "".join(arrow.text for arrow in narrow.shown())
    assert sum(arrow.kind == TIER1 for arrow in whole.arrows) == 10
    assert sum(arrow.kind == TIER2 for arrow in whole.arrows) == 150
    assert "copies" in reported


def test_a_small_cluster_is_drawn_whole() -> None:
    whole = diagram()
    assert whole.narrowed_to(10) is whole


@pytest.mark.parametrize("policy", ["flood", "client-only", "drop"])
@pytest.mark.parametrize("size", SIZES, ids=["2x3", "4x6", "10x15"])
def test_text_fits_a_terminal(size: tuple[int, int, int], policy: str) -> None:
    lines = ladder_text(diagram(*size, policy=policy)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "E1 stray: 64 B" in "\n".join(lines)


def test_text_draws_each_arrow_from_end_to_end() -> None:
    lines = ladder_text(diagram()).splitlines()
    reset = next(line for line in lines if "has no socket" in line)
    assert reset.index("◀") < reset.index("┤")
    copies = [line for line in lines if "tier-2 copy" in line]
    assert len(copies) == 6
    assert all("├╌" in line and "▶" in line for line in copies)


@pytest.mark.parametrize("policy", ["flood", "client-only", "drop"])
@pytest.mark.parametrize("size", SIZES, ids=["2x3", "4x6", "10x15"])
def test_svg_is_well_formed_and_everything_is_inside(
    size: tuple[int, int, int], policy: str
) -> None:
    root = ElementTree.fromstring(ladder_svg(diagram(*size, policy=policy)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for text in root.iter(f"{SVG}text"):
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        words = "".join(text.itertext())
        assert 0 < y < height
        anchor = text.attrib.get("text-anchor", "start")
        if anchor == "start":
            assert x + 6.6 * len(words) < width  # more than these fonts need
        elif anchor == "end":
            assert x - 6.6 * len(words) > 0


def test_svg_has_a_line_for_each_instant() -> None:
    root = ElementTree.fromstring(ladder_svg(diagram(4, 6, 80)))
    lines = [
        float(t.attrib["y"])
        for t in root.iter(f"{SVG}text")
        if t.attrib["class"] == "time"
    ]
    assert lines == sorted(lines)
    assert all(b - a >= 20 for a, b in pairwise(lines))


def test_uninvolved_nodes_of_a_large_cluster_share_a_column() -> None:
    narrow = diagram(10, 15, 80).narrowed_to(30)
    rest = [column for column in narrow.columns if column.kind == OTHERS]
    assert len(rest) == 10
    kept = [column for column in narrow.columns if column.kind == NODE]
    assert all(column.note for column in kept)


def test_a_ladder_without_a_reset_is_an_error() -> None:
    with pytest.raises(LadderError):
        choose([])


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0, "+0.0 µs"),
        (312_400, "+312.4 µs"),
        (-20_000, "-20.0 µs"),
        (1_234_000, "+1.234 ms"),
        (612_340_000, "+612.3 ms"),
        (2_640_000_000, "+2.640 s"),
    ],
)
def test_times_for_people(distance: int, expected: str) -> None:
    assert format_offset(distance) == expected
