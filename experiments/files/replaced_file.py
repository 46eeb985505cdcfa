"""A file that is replaced when it changes, and looked at from time to time."""

from __future__ import annotations

import os
from pathlib import Path


class ReplacedFile:
    """Tells whether another file has come in the place of the one seen last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None

    def has_changed(self) -> bool:
        """Whether there is another file than at the last call. No file is no change."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        now = found.st_ino, found.st_mtime_ns
        changed, self._seen = now != self._seen, now
        return changed

    @property
    def written_s(self) -> float:
        """When the file that was seen last was written, in seconds since 1970; 0 before."""
        return self._seen[1] / 1e9 if self._seen else 0.0
