"""The ladder diagram as text, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from experiments.ladder import (
    CLIENT_RESET,
    FREED,
    HELD,
    STRAY,
    TIER1,
    TIER2,
    Arrow,
    Ladder,
    Mark,
)

WIDTH = 100
_TIME_WIDTH = 11
_TEXT_WIDTH = 34
_SIGNS = {CLIENT_RESET: "✕", FREED: "✓", HELD: "○"}
_BODIES = {TIER1: "╌", TIER2: "╌"}


@dataclass(frozen=True)
class _Row:
    """One line: at an instant, from a column to another, or a mark where both agree."""

    time_ns: int | None
    start: int
    end: int
    sign: str
    text: str
    element: str


def ladder_text(ladder: Ladder) -> str:
    """The diagram, at most :data:`WIDTH` columns wide, as plain text."""
    room = WIDTH - _TIME_WIDTH - _TEXT_WIDTH
    narrow = ladder.at_most(room // 5)
    pitch = min(8, room // len(narrow.columns))
    lines = [ladder.title, "", *_heads(narrow, pitch)]
    for row in _rows(narrow):
        time = "" if row.time_ns is None else since(row.time_ns - narrow.start_ns)
        if row.time_ns is None:
            time = "at the end"
        drawing = _drawn(row, len(narrow.columns), pitch)
        lines.append(f"{time:>{_TIME_WIDTH - 1}} {drawing}{row.element:<3}{row.text}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def since(distance_ns: int) -> str:
    """A time after the first stray, e.g. ``+312.4 µs`` or ``+1.234 ms``."""
    if abs(distance_ns) < 1_000_000:
        return f"{distance_ns / 1e3:+.1f} µs"
    if abs(distance_ns) < 1_000_000_000:
        return f"{distance_ns / 1e6:+.3f} ms"
    return f"{distance_ns / 1e9:+.3f} s"


def _heads(ladder: Ladder, pitch: int) -> Iterator[str]:
    """Two lines: each column's name, and what its host is to the connection."""
    for titles in (
        [f"…{len(c.stands_for)}" if c.stands_for else c.name for c in ladder.columns],
        [{"second node": "2nd"}.get(c.note, c.note) for c in ladder.columns],
    ):
        cells = "".join(title[: pitch - 1].center(pitch) for title in titles)
        yield " " * _TIME_WIDTH + cells


def _rows(ladder: Ladder) -> list[_Row]:
    """Arrows and marks by time; copies to the same column of bystanders share a row."""
    rows = [*_arrow_rows(ladder), *(_mark_row(mark, ladder) for mark in ladder.marks)]
    late = 1 << 63
    return sorted(rows, key=lambda row: late if row.time_ns is None else row.time_ns)


def _arrow_rows(ladder: Ladder) -> Iterator[_Row]:
    def place(arrow: Arrow) -> tuple[str, int, int]:
        ends = ladder.index(arrow.start.column), ladder.index(arrow.end.column)
        return arrow.kind, *ends

    for (kind, start, end), group in groupby(sorted(ladder.arrows, key=place), place):
        arrows = list(group)
        if start == end:  # inside the column that stands for whole chassis
            continue
        for several in _shared(arrows, bool(ladder.columns[end].stands_for)):
            text = several[0].text if len(several) == 1 else f"{len(several)} {kind} copies"
            yield _Row(
                _shown_time(several[0]),
                start,
                end,
                _BODIES.get(kind, "─"),
                text,
                several[0].element,
            )


def _shared(arrows: list[Arrow], together: bool) -> list[list[Arrow]]:
    return [arrows] if together else [[arrow] for arrow in arrows]


def _shown_time(arrow: Arrow) -> int:
    """When it was sent; a tier-2 copy's time is that of its arrival, for lack of it."""
    known = arrow.start.time_ns
    if arrow.kind in (TIER2, STRAY) or known is None:
        known = arrow.end.time_ns
    return arrow.time_ns if known is None else known


def _mark_row(mark: Mark, ladder: Ladder) -> _Row:
    place = ladder.index(mark.column)
    return _Row(
        mark.time_ns, place, place, _SIGNS[mark.kind], mark.text, mark.element
    )


def _drawn(row: _Row, columns: int, pitch: int) -> str:
    """The lifelines, with the row's arrow or mark across them."""
    cells = list("".join("│".center(pitch) for _ in range(columns)))
    centre = "│".center(pitch).index("│")
    start, end = row.start * pitch + centre, row.end * pitch + centre
    if start == end:
        cells[start] = row.sign
        return "".join(cells)
    low, high = min(start, end), max(start, end)
    for place in range(low + 1, high):
        cells[place] = "┼" if cells[place] == "│" and row.sign == "─" else row.sign
    cells[start] = "├" if start < end else "┤"
    cells[end - 1 if start < end else end + 1] = "▶" if start < end else "◀"
    return "".join(cells)
