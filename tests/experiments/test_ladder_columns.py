"""Ladders made by hand: merged columns, arrows drawn as one, rows of text, lines of SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.ladder.ladder import (
    CLIENT,
    CLIENT_RESET,
    FREED,
    HELD,
    NODE,
    OTHERS,
    RESET,
    STRAY,
    SWITCH,
    TIER1,
    TIER2,
    Arrow,
    Column,
    End,
    Ladder,
    LadderError,
    Mark,
)
from experiments.ladder.svg import ladder_svg
from experiments.ladder.text import WIDTH, ladder_text

START = 1_000_000_000


def columns(chassis: int, nodes: int) -> tuple[Column, ...]:
    """c1n1 is the owner, the last node the second one."""
    notes = {"c1n1": "owner", f"c{chassis}n{nodes}": "second node"}
    made = [Column("h1", CLIENT, note="client"), Column("fabric", SWITCH)]
    for number in range(1, chassis + 1):
        name = f"c{number}"
        made.append(Column(name, SWITCH, name))
        for node in (f"{name}n{one}" for one in range(1, nodes + 1)):
            made.append(Column(node, NODE, name, notes.get(node, "")))
    return tuple(made)


def made(
    *arrows: Arrow,
    marks: tuple[Mark, ...] = (),
    size: tuple[int, int] = (2, 2),
    title: str = "Reset",
) -> Ladder:
    return Ladder(title, columns(*size), arrows, marks, START)


def copy(start: str, end: str, after_us: int, kind: str = TIER2) -> Arrow:
    sent = None if kind == TIER2 else START + after_us * 1000
    arrived = START + (after_us + 1) * 1000
    text = f"{kind} copy to {end}"
    return Arrow(kind, End(start, sent), End(end, arrived), text, "E5", "frame 9")


sizes = st.tuples(st.integers(2, 6), st.integers(1, 6))


@given(sizes, st.integers(5, 40))
def test_narrowing_shows_every_name_once_and_keeps_the_order(
    size: tuple[int, int], most: int
) -> None:
    whole = made(size=size)
    narrow = whole.narrowed_to(most)
    shown = [name for c in narrow.columns for name in (c.stands_for or (c.name,))]
    assert sorted(shown) == sorted(c.name for c in whole.columns)
    own = [c.name for c in narrow.columns if c.kind != OTHERS]
    assert own == [c.name for c in whole.columns if c.name in own]
    assert {c.note for c in narrow.columns} >= {"client", "owner", "second node"}
    for column in whole.columns:
        found = narrow.columns[narrow.index(column.name)]
        assert column.name in (found.name, *found.stands_for)


@given(sizes)
def test_narrowing_keeps_what_fits_and_is_idempotent(
    size: tuple[int, int],
) -> None:
    whole = made(size=size)
    assert whole.narrowed_to(len(whole.columns)) is whole
    narrow = whole.narrowed_to(12)
    assert narrow.narrowed_to(max(12, len(narrow.columns))) is narrow


def test_merged_nodes_are_next_to_their_chassis() -> None:
    narrow = made(size=(2, 9)).narrowed_to(10)
    others = [column for column in narrow.columns if column.kind == OTHERS]
    assert [(c.chassis, len(c.stands_for)) for c in others] == [("c1", 8), ("c2", 8)]
    assert all(name.startswith(c.chassis) for c in others for name in c.stands_for)


def test_a_name_that_no_column_shows_is_an_error() -> None:
    with pytest.raises(LadderError, match="c9n9"):
        made().index("c9n9")


def test_copies_into_one_merged_column_are_one_arrow_at_the_first_of_them() -> None:
    copies = [copy("c1", f"c1n{n}", 10 * n) for n in (2, 3, 4)]
    narrow = made(*copies, copy("c1", "c1n1", 50), size=(2, 9)).narrowed_to(10)
    merged, own = narrow.shown()
    assert (merged.text, merged.end) == ("3 tier-2 copies", copies[0].end)
    assert own.text == "tier-2 copy to c1n1"


def test_arrows_of_different_kinds_are_not_merged() -> None:
    there = copy("fabric", "c1", 1, TIER1)
    reset = Arrow(RESET, there.start, there.end, "RST", "E2")
    assert made(there, reset).shown() == [there, reset]


def test_an_arrows_time_is_that_of_its_first_capture() -> None:
    assert Arrow(RESET, End("a", 7), End("b", 5), "", "").time_ns == 5
    assert Arrow(RESET, End("a"), End("b", 5), "", "").time_ns == 5
    assert Arrow(RESET, End("a", 7), End("b"), "", "").time_ns == 7


STORY = made(
    Arrow(STRAY, End("h1"), End("c2n2", START), "stray: 8 B", "E1", "ACK seq 1"),
    copy("fabric", "c1", 5, TIER1),
    copy("c1", "c1n1", 20),
    marks=(
        Mark(FREED, "c1n1", START + 30_000, "c1n1 frees the connection", "E3"),
        Mark(HELD, "h1", None, "h1 still waits", ""),
        Mark(CLIENT_RESET, "h1", START + 2_000, "client's socket is reset", "E2"),
    ),
    title="Reset of <a> & 'b'",
)


def test_text_is_in_the_order_of_time_with_the_end_last() -> None:
    lines = ladder_text(STORY).splitlines()
    reported = [
        "stray: 8 B",
        "client's socket is reset",
        "tier-1 copy to c1",
        "tier-2 copy to c1n1",
        "c1n1 frees the connection",
        "h1 still waits",
    ]
    rows = [n for text in reported for n, line in enumerate(lines) if text in line]
    assert rows == list(range(rows[0], rows[0] + len(reported)))
    times = [lines[row][:10].strip() for row in rows]
    assert times[:3] == ["+0.0 µs", "+2.0 µs", "+5.0 µs"]
    assert times[-1] == "at the end"


def test_text_marks_are_on_their_own_lifeline() -> None:
    text = ladder_text(STORY).splitlines()
    places = {sign: next(x.index(sign) for x in text if sign in x) for sign in "✕✓○"}
    assert places["✕"] == places["○"] < places["✓"]
    assert text[2].index("c1n1") <= places["✓"] < text[2].index("c1n1") + 4


def test_an_arrow_to_the_left_has_its_tip_on_the_left() -> None:
    back = Arrow(RESET, End("c2n2", START), End("fabric", START + 9), "RST", "E2")
    row = next(x for x in ladder_text(made(back)).splitlines() if "RST" in x)
    assert row.index("◀") < row.index("┤")
    assert row[row.index("◀") - 1] == "│", "it ends at the lifeline"
    assert "▶" not in row


@given(st.text("aé…", max_size=200))
@example("x" * 150)
def test_no_title_makes_text_wider_than_a_terminal(title: str) -> None:
    assert max(map(len, ladder_text(made(title=title)).split("\n"))) <= WIDTH


@pytest.mark.parametrize("size", [(2, 2), (3, 9), (6, 6)])
def test_svg_is_well_formed_for_any_text(size: tuple[int, int]) -> None:
    ladder = made(*STORY.arrows[1:], size=size, title=STORY.title)
    root = ElementTree.fromstring(ladder_svg(ladder))
    texts = [each.text for each in root.iter() if each.text]
    assert texts.count(STORY.title) == 2, "for screen readers, and visible"


def test_svg_has_a_line_for_each_instant_and_none_for_the_end() -> None:
    drawn = ladder_svg(STORY)
    instants = {a.end.time_ns for a in STORY.arrows} | {START + 5_000}
    instants |= {mark.time_ns for mark in STORY.marks if mark.time_ns is not None}
    assert drawn.count('class="guide"') == len(instants) == 6
    heights = re.findall(r'class="guide" x1="[^"]+" y1="([\d.]+)"', drawn)
    assert [float(y) for y in heights] == sorted({float(y) for y in heights})
    assert ">at the end</text>" in drawn
