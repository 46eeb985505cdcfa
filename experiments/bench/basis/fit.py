"""Least-squares fits of the growth curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.bench.basis.not_computable import NotComputableError, ratio

Point = tuple[float, float]


class PowerLaw(NamedTuple):
    """``y = factor * x ** exponent``."""

    factor: float
    exponent: float

    def at(self, x: float) -> float:
        """Its value at ``x``."""
        return float(self.factor * x**self.exponent)


def slope(points: Sequence[Point]) -> float:
    """The slope of y over x, by least squares; y / x if there is only one x.

    Raises :class:`NotComputableError` if that x is zero.
    """
    return _line(points)[0]


def power_law(points: Sequence[Point]) -> PowerLaw:
    """The power law that fits the points on logarithmic axes.

    Raises :class:`NotComputableError` unless all are positive, and for a law so steep that
    its factor is no float.
    """
    for x, y in points:
        if x <= 0 or y <= 0:
            raise NotComputableError(f"no power law through ({x:g}, {y:g})")
    exponent, constant = _line([(math.log(x), math.log(y)) for x, y in points])
    try:
        return PowerLaw(math.exp(constant), exponent)
    except OverflowError as error:
        raise NotComputableError(f"a power law with exponent {exponent:g}") from error


def _line(points: Sequence[Point]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    if len({x for x, _ in points}) < 2:
        x, y = points[0]
        return ratio(y, x, "the only x"), 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    variance = sum((x - mean_x) ** 2 for x, _ in points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return covariance / variance, mean_y - covariance / variance * mean_x
