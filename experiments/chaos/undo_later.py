"""Undoes actions when their time is over, in a thread of its own.

A membership event may wait for the very program that is stopped. So the
thread that does the actions cannot undo them. Everything is undone at the end, also after an error.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

#: Called with the text of an error of something that was to be undone.
OnError = Callable[[str], None]


class UndoLater:
    """The things to undo, by their time."""

    def __init__(self, on_error: OnError) -> None:
        """Starts the thread."""
        self._on_error = on_error
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def after(self, seconds: float, undo: Callable[[], None]) -> None:
        """Calls ``undo`` after that time."""
        with self._changed:
            entry = time.monotonic() + seconds, next(self._order), undo
            heapq.heappush(self._heap, entry)
            self._changed.notify()

    def close(self) -> None:
        """Undoes everything that is left, now. May be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (undo := self._next()) is not None:
            try:
                undo()
            except Exception as error:  # noqa: BLE001
                # The others must be undone in any case.
                self._on_error(f"could not be undone: {error!r}")

    def _next(self) -> Callable[[], None] | None:
        """The next one, when its time has come; None when all are undone at the end."""
        with self._changed:
            while True:
                if self._heap:
                    left_s = self._heap[0][0] - time.monotonic()
                    if left_s <= 0 or self._closing:
                        return heapq.heappop(self._heap)[2]
                    self._changed.wait(left_s)
                elif self._closing:
                    return None
                else:
                    self._changed.wait()
