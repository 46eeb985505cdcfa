"""Waits for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 15.0


def eventually(what: str, observe: Callable[[], T]) -> T:
    """The first truthy observation; fails with the last one at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not (seen := observe()):
        assert time.monotonic() < deadline, f"not in {DEADLINE_S} s: {what}; {seen!r}"
        time.sleep(0.02)
    return seen
