"""The event log of a cluster, as JSON lines."""

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
        """Appends one line: time, what happened, details."""
        record = {"t": round(time.time(), 6), "what": what, **details}
        with self._lock:
            self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Closes the file. Nothing can be written afterwards."""
        self._file.close()
