"""Statistics over many measurements: percentiles and peak."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Percentiles(NamedTuple):
    """Nearest-rank percentiles; all ``None`` without measurements."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


def percentiles(values: Iterable[float]) -> Percentiles:
    """Median, 99th percentile and maximum. Each is one of the values (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return Percentiles()
    return Percentiles(_rank(ordered, 0.50), _rank(ordered, 0.99), ordered[-1])


def peak(intervals: Iterable[tuple[int, int]]) -> int:
    """The largest number of intervals ``[start, end)`` that overlap at one instant."""
    steps = [
        step
        for start, end in intervals
        if end > start
        for step in ((start, 1), (end, -1))
    ]
    maximum = current = 0
    for _, step in sorted(steps):  # at one instant, ends come before starts
        current += step
        maximum = max(maximum, current)
    return maximum


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
