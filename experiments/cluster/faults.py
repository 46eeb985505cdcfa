"""Errors in the threads of a cluster: recorded and printed; the thread continues."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.cluster.event_log import EventLog

#: A repeated fault whose text differs each time must not fill the memory.
_MAX_FAULTS = 100


class Faults:
    """The faults of one cluster. Thread-safe."""

    def __init__(self, log: EventLog) -> None:
        """Each fault goes to ``log`` once, and to standard error with its traceback."""
        self._log = log
        self._lock = threading.Lock()
        self._texts: dict[str, None] = {}

    @property
    def texts(self) -> list[str]:
        """Each fault once, in order of time: where it occurred, and the error."""
        with self._lock:
            return list(self._texts)

    @contextmanager
    def recorded(self, where: str) -> Iterator[None]:
        """Records an exception raised inside, and suppresses it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            # Any exception: otherwise the thread would end silently.
            self._record(f"{where}: {type(error).__name__}: {error}", error)

    def _record(self, text: str, error: Exception) -> None:
        with self._lock:
            if text in self._texts or len(self._texts) == _MAX_FAULTS:
                return
            self._texts[text] = None
        self._log.write("fault", fault=text)
        print(f"resetbed: fault: {text}", file=sys.stderr)
        traceback.print_exception(error)
        sys.stderr.flush()
