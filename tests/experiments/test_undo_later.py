"""What chaos stops goes on again: in time, in order, and at the end in any case."""

from __future__ import annotations

import threading

from experiments.chaos.undo_later import UndoLater

LONG_S = 3600.0
DEADLINE_S = 10.0


def test_it_is_undone_when_its_time_has_come() -> None:
    undone = threading.Event()
    undo = UndoLater(print)
    undo.after(LONG_S, lambda: None)
    undo.after(0.01, undone.set)
    assert undone.wait(DEADLINE_S)
    undo.close()


def test_at_the_end_everything_is_undone_by_its_time() -> None:
    done: list[int] = []
    undo = UndoLater(print)
    for hours in (3, 1, 2):
        undo.after(hours * LONG_S, lambda hours=hours: done.append(hours))  # type: ignore[misc]
    undo.close()
    undo.close()
    assert done == [1, 2, 3]


def test_an_error_does_not_stop_the_others() -> None:
    done: list[int] = []
    errors: list[str] = []
    undo = UndoLater(errors.append)
    undo.after(LONG_S, lambda: done.append(1 // 0))
    undo.after(2 * LONG_S, lambda: done.append(2))
    undo.close()
    assert done == [2]
    assert "ZeroDivisionError" in errors[0]
