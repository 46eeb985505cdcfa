"""Medians with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
#: Fewer values than this get no interval.
MIN_VALUES = 3
_SEED = 10_425_473


class Median(NamedTuple):
    """The median of ``n`` values and its interval; None if there are too few values."""

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    minimum: float | None = None
    maximum: float | None = None


def median(values: Sequence[float]) -> Median:
    """Median and percentile-bootstrap interval. Deterministic: the seed is fixed.

    The interval is coarse for few values; for three it is often their whole range. So
    ``n`` is part of the result.
    """
    if not values:
        return Median(0)
    data = np.sort(np.asarray(values, dtype=float))
    value, minimum, maximum = float(np.median(data)), float(data[0]), float(data[-1])
    if len(data) < MIN_VALUES:
        return Median(len(data), value, None, None, minimum, maximum)
    picks = np.random.default_rng(_SEED).integers(
        len(data), size=(RESAMPLES, len(data))
    )
    medians = np.median(data[picks], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.quantile(medians, (tail, 1 - tail)))
    return Median(len(data), value, low, high, minimum, maximum)
