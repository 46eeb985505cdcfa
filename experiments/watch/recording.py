"""The last minutes of a view, bounded in number and in memory; pure."""

from __future__ import annotations

import json
from typing import Any

#: At most so many views are kept, one a second: ten minutes.
MAX_VIEWS = 600
#: At most so many bytes of them. Large clusters are kept at longer distances instead.
MAX_BYTES = 16 << 20
#: What only the newest view has; an older one has it empty.
NEWEST_ONLY = ("log", "possible")


class Recording:
    """Views as JSON text, oldest first. A cluster at rest adds none."""

    def __init__(self, max_views: int = MAX_VIEWS, max_bytes: int = MAX_BYTES) -> None:
        self._max_views = max_views
        self._max_bytes = max_bytes
        self._kept: list[tuple[float, str]] = []
        self._bytes = 0
        self._newest: tuple[float, str] | None = None

    def add(self, view: dict[str, Any]) -> None:
        """Adds a view. What has ended keeps the view that was its last of a second."""
        before = self._newest
        self._newest = view["t"], json.dumps(view)
        if before is not None and int(before[0]) != int(view["t"]):
            self._keep(before)

    @property
    def newest(self) -> str:
        """The newest view, whole; empty before there is one."""
        return self._newest[1] if self._newest else ""

    def history(self) -> str:
        """All of them as one JSON list, the newest one whole."""
        newest = [self.newest] if self._newest else []
        return f"[{', '.join([*(text for _, text in self._kept), *newest])}]"

    def __len__(self) -> int:
        return len(self._kept) + (self._newest is not None)

    def _keep(self, one: tuple[float, str]) -> None:
        view = json.loads(one[1])
        view.update({key: [] for key in NEWEST_ONLY if key in view})
        text = json.dumps(view)
        self._kept.append((one[0], text))
        self._bytes += len(text)
        while len(self._kept) >= self._max_views:
            self._bytes -= len(self._kept.pop(0)[1])
        if self._bytes > self._max_bytes:
            # The older half at twice the distance, rather than half of the time.
            half = len(self._kept) // 2
            self._kept[:half] = self._kept[:half:2]
            if half < 2:
                self._kept.clear()
            self._bytes = sum(len(text) for _, text in self._kept)
