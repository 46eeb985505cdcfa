"""The event log of a cluster: JSON lines, one for each thing that happened to it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any


class EventLog:
    """Appends records to a file, each with ``t`` (CLOCK_REALTIME seconds)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def write(self, what: str, **details: Any) -> None:
        """One line: when, what, and its details."""
        record = {"t": round(time.time(), 6), "what": what, **details}
        with self._lock:
            self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Closes the file; nothing may be written afterwards."""
        self._file.close()
