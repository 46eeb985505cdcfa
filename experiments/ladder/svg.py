"""The ladder diagram as one SVG file, for light and dark pages.

Every observed instant has its own line, in the order of time. The distance between lines
means nothing; the times are on the left.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from experiments.ladder.ladder import (
    CLIENT_COPY,
    CLIENT_RESET,
    FAILED,
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
    Mark,
)
from experiments.ladder.style import stylesheet
from experiments.ladder.text import format_offset

#: With more lifelines than this, uninvolved ones are merged.
MAX_COLUMNS = 30

_LEFT, _RIGHT = 96, 550
_TOP, _LINE, _BOTTOM = 118, 24, 74
_HEAD_HEIGHT = 40
_TIP = 7

_CLASS_OF = {CLIENT_COPY: RESET, CLIENT_RESET: RESET, HELD: STRAY}
_LEGEND = (
    (STRAY, "stray segment"),
    (RESET, "reset"),
    (TIER1, "tier-1 copy"),
    (TIER2, "tier-2 copy"),
)
_SIGNS = (
    (CLIENT_RESET, "client's socket is reset"),
    (FREED, "owner's socket is freed"),
    (HELD, "still waiting, still held"),
)


def ladder_svg(ladder: Ladder) -> str:
    """The text of the SVG file."""
    return "\n".join(_Drawing(ladder.narrowed_to(MAX_COLUMNS)).elements()) + "\n"


class _Drawing:
    """The layout: columns by number, lines by the order of instants."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        count = len(ladder.columns)
        self._pitch = 78 if count <= 12 else 64 if count <= 20 else 56
        self._roomy = self._pitch > 70
        instants = {mark.time_ns for mark in ladder.marks} - {None}
        for arrow in self._arrows():
            instants |= {arrow.start.time_ns, arrow.end.time_ns} - {None}
        self._lines = {time: n for n, time in enumerate(sorted(filter(None, instants)))}
        held = sum(mark.time_ns is None for mark in ladder.marks)
        self._floor = _TOP + _LINE * (len(self._lines) + held)
        self.width = max(_LEFT + self._pitch * count + _RIGHT, 760)
        self.height = self._floor + _BOTTOM

    def elements(self) -> Iterator[str]:
        """The elements of the file, from the background to the front."""
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} '
            f'{self.height}" width="{self.width}" height="{self.height}" role="img">'
        )
        yield f"<title>{escape(self._ladder.title)}</title>"
        yield stylesheet()
        yield f'<rect class="paper" width="{self.width}" height="{self.height}"/>'
        yield _text(24, 34, self._ladder.title, "title")
        yield from self._panels()
        yield from self._guides()
        for column in self._ladder.columns:
            yield from self._lifeline(column)
        yield from self._activity_bars()
        for arrow in self._arrows():
            yield from self._arrow(arrow)
        yield from self._marks()
        yield from self._legend()
        yield "</svg>"

    def _arrows(self) -> list[Arrow]:
        """The arrows from one column to another."""
        index = self._ladder.index
        return [
            arrow
            for arrow in self._ladder.shown()
            if index(arrow.start.column) != index(arrow.end.column)
        ]

    def _x(self, name: str) -> float:
        return _LEFT + self._pitch * (self._ladder.index(name) + 0.5)

    def _y(self, time_ns: int) -> float:
        return _TOP + _LINE * (self._lines[time_ns] + 0.5)

    def _panels(self) -> Iterator[str]:
        """A background for each chassis and its nodes."""
        groups: dict[str, list[float]] = {}
        for column in self._ladder.columns:
            if column.chassis:
                groups.setdefault(column.chassis, []).append(self._x(column.name))
        for name, positions in groups.items():
            left, half = positions[0], self._pitch / 2 - 4
            width = positions[-1] - left + 2 * half
            top, height = _TOP - 66, self._floor - _TOP + 76
            yield _rect("panel", left - half, top, width, height, 8)
            yield _text(left - half + 10, top + 15, f"chassis {name}", "small")

    def _guides(self) -> Iterator[str]:
        """For each instant its time, a thin line, and a text of what happens."""
        right = _LEFT + self._pitch * len(self._ladder.columns)
        captions = self._captions()
        for time_ns in self._lines:
            y = self._y(time_ns)
            element, text, detail = captions.get(time_ns, ("", "", ""))
            yield _line("guide", _LEFT, y, right, y)
            distance = format_offset(time_ns - self._ladder.start_ns)
            yield _text(_LEFT - 10, y + 4, distance, "time", "end")
            yield _text(right + 14, y + 4, element, "element")
            yield _caption(right + 40, y + 4, text, detail)

    def _captions(self) -> dict[int, tuple[str, str, str]]:
        """Instant -> element, text, detail. An arrow has its text where it is first seen."""
        captions: dict[int, tuple[str, str, str]] = {}
        for arrow in self._arrows():
            sent, arrived = arrow.start.time_ns, arrow.end.time_ns
            if arrived is not None and arrow.kind in (TIER1, RESET):
                captions.setdefault(arrived, ("", f"… at {arrow.end.column}", ""))
            shown = arrived if arrow.kind == TIER2 or sent is None else sent
            if shown is not None:
                captions[shown] = (arrow.element, arrow.text, arrow.detail)
        for mark in self._ladder.marks:
            if mark.time_ns is not None:
                captions[mark.time_ns] = (mark.element, mark.text, "")
        return captions

    def _lifeline(self, column: Column) -> Iterator[str]:
        x, half = self._x(column.name), self._pitch / 2 - (8 if self._roomy else 4)
        yield _line("line", x, _TOP - 4, x, self._floor + 4)
        kind = {"owner": "owner", "second node": "second"}.get(column.note, "")
        top = _TOP - 46
        yield _rect(f"head {kind}", x - half, top, 2 * half, _HEAD_HEIGHT, 5)
        middle = top + (17 if column.note else 24)
        name = f"+{len(column.stands_for)}" if column.kind == OTHERS else column.name
        yield _text(
            x, middle, name, "name" if column.kind != NODE else "node", "middle"
        )
        if column.note:
            second = "2nd node" if self._roomy else "2nd"
            note = column.note.replace("second node", second)
            yield _text(x, top + 32, note, f"note {kind}", "middle")

    def _activity_bars(self) -> Iterator[str]:
        """A bar on each switch's lifeline, from its first segment to its last."""
        spans: dict[str, list[int]] = {}
        for arrow in self._arrows():
            for column, time_ns in (
                (arrow.end.column, arrow.end.time_ns),
                (arrow.start.column, arrow.start.time_ns or arrow.end.time_ns),
            ):
                if time_ns is not None and self._relays(column):
                    spans.setdefault(column, []).append(time_ns)
        for column, times in spans.items():
            top, bottom = self._y(min(times)) - 4, self._y(max(times)) + 4
            yield _rect("busy", self._x(column) - 3.5, top, 7, bottom - top, 3)

    def _relays(self, name: str) -> bool:
        return self._ladder.columns[self._ladder.index(name)].kind == SWITCH

    def _arrow(self, arrow: Arrow) -> Iterator[str]:
        kind = _CLASS_OF.get(arrow.kind, arrow.kind)
        x1, x2 = self._x(arrow.start.column), self._x(arrow.end.column)
        y1 = self._end_y(arrow.start, arrow.end)
        y2 = self._end_y(arrow.end, arrow.start)
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        base_x, base_y = x2 - _TIP * dx, y2 - _TIP * dy
        yield _line(f"arrow {kind}", x1, y1, base_x, base_y)
        wing_x, wing_y = -dy * _TIP * 0.5, dx * _TIP * 0.5
        yield (
            f'<path class="tip {kind}" d="M{x2:.1f} {y2:.1f}'
            f"L{base_x + wing_x:.1f} {base_y + wing_y:.1f}"
            f'L{base_x - wing_x:.1f} {base_y - wing_y:.1f}Z"/>'
        )
        yield f'<circle class="tip {kind}" cx="{x1:.1f}" cy="{y1:.1f}" r="2.5"/>'

    def _end_y(self, end: End, other: End) -> float:
        """The height of an end; that of the other end if this one was not captured."""
        time_ns = end.time_ns if end.time_ns is not None else other.time_ns
        assert time_ns is not None, "at least one end of an arrow was captured"
        return self._y(time_ns)

    def _marks(self) -> Iterator[str]:
        held = 0
        right = _LEFT + self._pitch * len(self._ladder.columns)
        for mark in self._ladder.marks:
            if mark.time_ns is None:
                y = _TOP + _LINE * (len(self._lines) + held + 0.5)
                held += 1
                yield _text(_LEFT - 10, y + 4, "at the end", "time", "end")
                yield _text(right + 40, y + 4, mark.text, "words")
            else:
                y = self._y(mark.time_ns)
            yield _symbol(mark, self._x(mark.column), y)

    def _legend(self) -> Iterator[str]:
        x, y = float(_LEFT), self._floor + 46
        if self._ladder.note:
            yield _text(x, y + 20, self._ladder.note, "small")
        for kind, text in () if self._ladder.note else _LEGEND:
            yield _line(f"arrow {kind}", x, y - 4, x + 26, y - 4)
            yield _text(x + 34, y, text, "small")
            x += 58 + 7 * len(text)
        for kind, text in _SIGNS:
            yield _symbol(Mark(kind, "", None, "", ""), x + 8, y - 4)
            yield _text(x + 24, y, text, "small")
            x += 48 + 6.5 * len(text)


def _symbol(mark: Mark, x: float, y: float) -> str:
    kind = _CLASS_OF.get(mark.kind, mark.kind)
    circle = f'<circle class="sign {kind}" cx="{x:.1f}" cy="{y:.1f}" r="8.5"/>'
    strokes = {
        CLIENT_RESET: "M-3.5 -3.5L3.5 3.5M3.5 -3.5L-3.5 3.5",
        FREED: "M-4 0L-1 3.5L4.5 -3.5",
        FAILED: "M0 -5L0 5M-3 -2L3 -2",
    }.get(mark.kind, "")
    if not strokes:
        return f'<circle class="held {kind}" cx="{x:.1f}" cy="{y:.1f}" r="7"/>'
    at = f'transform="translate({x:.1f} {y:.1f})"'
    return f'{circle}<path class="stroke" {at} d="{strokes}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _caption(x: float, y: float, text: str, detail: str) -> str:
    more = f'<tspan class="small" dx="8">{escape(detail)}</tspan>' if detail else ""
    return f'<text class="words" x="{x:.1f}" y="{y:.1f}">{escape(text)}{more}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _rect(
    kind: str, x: float, y: float, width: float, height: float, radius: float
) -> str:
    size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {size} rx="{radius:g}"/>'
