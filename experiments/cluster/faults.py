"""What goes wrong in a cluster's own threads: it is said, and the thread goes on."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.cluster.event_log import EventLog

#: A fault that comes back with other words each time must not fill the memory.
_MAX_FAULTS = 100


class Faults:
    """The faults of one cluster; any thread may note one."""

    def __init__(self, log: EventLog) -> None:
        """``log`` gets each fault once; standard error gets its traceback as well."""
        self._log = log
        self._lock = threading.Lock()
        self._texts: dict[str, None] = {}

    @property
    def texts(self) -> list[str]:
        """Each fault once, in the order in which they came: where, and what."""
        with self._lock:
            return list(self._texts)

    @contextmanager
    def noted(self, where: str) -> Iterator[None]:
        """Notes an exception of what is done in here, and lets it go no further."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            # Whatever it is: a thread that ends in silence is worse.
            self._note(f"{where}: {type(error).__name__}: {error}", error)

    def _note(self, text: str, error: Exception) -> None:
        with self._lock:
            if text in self._texts or len(self._texts) == _MAX_FAULTS:
                return
            self._texts[text] = None
        self._log.write("fault", fault=text)
        print(f"resetbed: fault: {text}", file=sys.stderr)
        traceback.print_exception(error)
        sys.stderr.flush()
