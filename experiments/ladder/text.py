"""The ladder diagram as text, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.ladder.ladder import (
    CLIENT_COPY,
    CLIENT_RESET,
    FAILED,
    FREED,
    HELD,
    RESET,
    STRAY,
    TIER1,
    TIER2,
    Arrow,
    Ladder,
    Mark,
)

WIDTH = 100
_TIME_WIDTH = 10
_DRAWING_WIDTH = 60
MAX_COLUMNS = 12
_SIGNS = {CLIENT_RESET: "✕", FREED: "✓", FAILED: "†", HELD: "○"}
_BODIES = {TIER1: "╌", TIER2: "╌"}


@dataclass(frozen=True)
class _Row:
    """One line: an arrow from column to column, or a mark if both are the same."""

    time_ns: int | None
    start: int
    end: int
    sign: str
    text: str
    element: str


def ladder_text(ladder: Ladder) -> str:
    """The diagram, at most :data:`WIDTH` columns wide, as plain text."""
    narrow = ladder.narrowed_to(MAX_COLUMNS)
    pitch = min(8, _DRAWING_WIDTH // len(narrow.columns))
    lines = [ladder.title, "", *_heads(narrow, pitch)]
    for row in _rows(narrow):
        time = "at the end"
        if row.time_ns is not None:
            time = format_offset(row.time_ns - narrow.start_ns)
        drawing = _drawn(row, len(narrow.columns), pitch)
        lines.append(f"{time:>{_TIME_WIDTH}}{drawing}{row.element:<3}{row.text}")
    lines += ["", *_details(ladder)]
    return "\n".join(line.rstrip()[:WIDTH] for line in lines) + "\n"


def _details(ladder: Ladder) -> Iterator[str]:
    """The sequence numbers that link the reset to its stray, as in the capture."""
    for arrow in ladder.arrows:
        if arrow.kind in (STRAY, RESET, CLIENT_COPY):
            yield f"{arrow.kind:>11}: {arrow.detail}"
    if any(arrow.kind == TIER2 for arrow in ladder.arrows):
        yield "     copies: the same numbers, addresses and ports swapped"


def format_offset(distance_ns: int) -> str:
    """A time after the first stray, e.g. ``+312.4 µs`` or ``+1.234 ms``."""
    distance = abs(distance_ns)
    if distance < 1_000_000:
        return f"{distance_ns / 1e3:+.1f} µs"
    if distance < 1_000_000_000:
        return f"{distance_ns / 1e6:+.{3 if distance < 10**8 else 1}f} ms"
    return f"{distance_ns / 1e9:+.3f} s"


def _heads(ladder: Ladder, pitch: int) -> Iterator[str]:
    """Two lines: the name of each column, and its role in the connection."""
    for titles in (
        [f"…{len(c.stands_for)}" if c.stands_for else c.name for c in ladder.columns],
        [{"second node": "2nd"}.get(c.note, c.note) for c in ladder.columns],
    ):
        line = " " * _TIME_WIDTH
        for number, title in enumerate(titles):
            middle = _TIME_WIDTH + number * pitch + _centre(pitch)
            line = line.ljust(middle - len(title) // 2) + title
        yield line


def _centre(pitch: int) -> int:
    """The position of the lifeline in a column."""
    return "│".center(pitch).index("│")


def _rows(ladder: Ladder) -> list[_Row]:
    """Arrows and marks by time. Copies to the same merged column share a row."""
    rows = [*_arrow_rows(ladder), *(_mark_row(mark, ladder) for mark in ladder.marks)]
    at_end = 1 << 63
    return sorted(rows, key=lambda row: at_end if row.time_ns is None else row.time_ns)


def _arrow_rows(ladder: Ladder) -> Iterator[_Row]:
    for arrow in ladder.shown():
        start, end = ladder.index(arrow.start.column), ladder.index(arrow.end.column)
        # Inside a column that stands for whole chassis no arrow can be drawn.
        sign = "┊" if start == end else _BODIES.get(arrow.kind, "─")
        yield _Row(_shown_time(arrow), start, end, sign, arrow.text, arrow.element)


def _shown_time(arrow: Arrow) -> int:
    """When it was sent; when it arrived, for a tier-2 copy or a stray."""
    shown = arrow.start.time_ns
    if arrow.kind in (TIER2, STRAY) or shown is None:
        shown = arrow.end.time_ns
    return arrow.time_ns if shown is None else shown


def _mark_row(mark: Mark, ladder: Ladder) -> _Row:
    index = ladder.index(mark.column)
    return _Row(mark.time_ns, index, index, _SIGNS[mark.kind], mark.text, mark.element)


def _drawn(row: _Row, columns: int, pitch: int) -> str:
    """The lifelines, with the row's arrow or mark across them."""
    cells = list("".join("│".center(pitch) for _ in range(columns)))
    start, end = (index * pitch + _centre(pitch) for index in (row.start, row.end))
    if start == end:
        cells[start] = row.sign
        return "".join(cells)
    low, high = min(start, end), max(start, end)
    for position in range(low + 1, high):
        cells[position] = (
            "┼" if cells[position] == "│" and row.sign == "─" else row.sign
        )
    cells[start] = "├" if start < end else "┤"
    cells[end - 1 if start < end else end + 1] = "▶" if start < end else "◀"
    return "".join(cells)
