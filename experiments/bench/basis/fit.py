"""Least-squares fits of the growth curves: pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]


class PowerLaw(NamedTuple):
    """``y = factor * x ** exponent``."""

    factor: float
    exponent: float

    def at(self, x: float) -> float:
        """Its value there."""
        return float(self.factor * x**self.exponent)


def slope(points: Sequence[Point]) -> float:
    """How much y grows with x, by least squares; y / x where there is only one x."""
    return _line(points)[0]


def power_law(points: Sequence[Point]) -> PowerLaw:
    """The power law nearest to the points on logarithmic axes; all must be positive."""
    exponent, constant = _line([(math.log(x), math.log(y)) for x, y in points])
    return PowerLaw(math.exp(constant), exponent)


def _line(points: Sequence[Point]) -> tuple[float, float]:
    """Slope and intercept of the nearest straight line."""
    if len({x for x, _ in points}) < 2:
        x, y = points[0]
        return y / x, 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    together = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return together / spread, mean_y - together / spread * mean_x
