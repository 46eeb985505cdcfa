"""The labels of a timeline's events: none covers another, and few lines are taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from experiments.report.timeline import WIDE_TEXT, Timeline, label_levels

END = 100.0
labels = st.text("abc", min_size=1, max_size=40)
events = st.lists(st.tuples(st.floats(0, END), labels), max_size=9)


def timeline(*marks: tuple[float, str]) -> Timeline:
    shown = tuple((text, at, at, at) for at, text in sorted(marks))
    return Timeline(shown, (), (), (), (), END)


def span(at: float, text: str) -> tuple[float, float]:
    """Where its label is drawn: to the left of what is near the right end."""
    width = END * len(text) / WIDE_TEXT
    return (at - width, at) if at > 0.7 * END else (at, at + width)


@given(marks=events)
def test_no_label_covers_another(marks: list[tuple[float, str]]) -> None:
    one = timeline(*marks)
    levels = label_levels(one, WIDE_TEXT)
    placed = [
        (level, *span(at, text))
        for level, (text, at, *_) in zip(levels, one.events, strict=True)
    ]
    for number, (level, begin, end) in enumerate(placed):
        for other, start, stop in placed[:number]:
            assert level != other or stop <= begin or end <= start


def test_labels_with_room_stand_in_one_line() -> None:
    far = timeline((0, "drain-node c1n2"), (30, "link h1 (5 ms)"), (99, "reseed all"))
    assert label_levels(far, WIDE_TEXT) == [0, 0, 0]
    near = timeline((90, "link c1n1 (not shaped)"), (92, "drain-node c1n3"))
    assert label_levels(near, WIDE_TEXT) == [0, 1]
    assert label_levels(timeline(), WIDE_TEXT) == []
