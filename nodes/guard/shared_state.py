"""The state that a guard process shares with its owner: mode and counters, by mmap.

The file outlives the process, so a process restarted after ``kill -9`` counts on.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import fields
from pathlib import Path

from nodes.guard.guard import GuardCounters
from nodes.guard.verdict import Mode

_WORD = struct.Struct("=Q")
_MODES = tuple(Mode)
_NAMES = [field.name for field in fields(GuardCounters)]
#: The mode first, then one word for each counter.
_OFFSETS = {name: _WORD.size * i for i, name in enumerate(["mode", *_NAMES])}
_SIZE = _WORD.size * len(_OFFSETS)


class SharedState:
    """The shared state in the file ``path``, which is created if it does not exist."""

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(_SIZE)
            self._words = mmap.mmap(file.fileno(), _SIZE)

    @property
    def mode(self) -> Mode:
        """How strays are handled."""
        return _MODES[self._get("mode")]

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._set("mode", _MODES.index(mode))

    def increment(self, counter: str) -> None:
        """Add one to the counter of that name. Only the guard process does so."""
        self._set(counter, self._get(counter) + 1)

    def counters(self) -> GuardCounters:
        """The current counters."""
        return GuardCounters(*map(self._get, _NAMES))

    def clear(self) -> None:
        """Set all counters to zero."""
        for name in _NAMES:
            self._set(name, 0)

    def _get(self, name: str) -> int:
        value: int
        (value,) = _WORD.unpack_from(self._words, _OFFSETS[name])
        return value

    def _set(self, name: str, value: int) -> None:
        _WORD.pack_into(self._words, _OFFSETS[name], value)
