"""The state that a guard process shares with its owner: settings and counters, by mmap.

The file outlives the process, so a process restarted after ``kill -9`` counts on.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from nodes.guard.budget import Budget, Limit
from nodes.guard.guard import GuardCounters, GuardSettings
from nodes.guard.verdict import Mode

_WORD = struct.Struct("=Q")
_MODES = tuple(Mode)
_NAMES = [field.name for field in fields(GuardCounters)]
#: The settings: mode, healing, the budget's tokens of a relay, rate and burst of its limits.
_SETTINGS = struct.Struct("=QQQdddd")
#: One word for each counter, after the settings.
_OFFSETS = {n: _SETTINGS.size + _WORD.size * i for i, n in enumerate(_NAMES)}
_SIZE = _SETTINGS.size + _WORD.size * len(_OFFSETS)


class SharedState:
    """The shared state in the file ``path``, which is created if it does not exist."""

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(_SIZE)
            self._words = mmap.mmap(file.fileno(), _SIZE)

    @property
    def settings(self) -> GuardSettings:
        """What the guard does."""
        return _decoded(self._words[: _SETTINGS.size])

    @settings.setter
    def settings(self, settings: GuardSettings) -> None:
        client, total = settings.budget.client, settings.budget.total
        limits = client.rate, client.burst, total.rate, total.burst
        mode = _MODES.index(settings.mode)
        numbers = mode, settings.healing, settings.budget.relay
        _SETTINGS.pack_into(self._words, 0, *numbers, *limits)

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


@lru_cache(maxsize=1)
def _decoded(words: bytes) -> GuardSettings:
    """They are read for every segment, and hardly ever change."""
    mode, healing, relay, *limits = _SETTINGS.unpack(words)
    budget = Budget(Limit(*limits[:2]), Limit(*limits[2:]), relay)
    return GuardSettings(_MODES[mode], bool(healing), budget)
