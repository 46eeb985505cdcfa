"""How long connections last: distributions, and what is left of those that are open.

Of the connections open at some time, the long ones are more than their share. What is left
of such a connection has the density P(duration > x) / mean: the equilibrium distribution of
renewal theory (Cox, *Renewal Theory*, 1962, 5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, gamma, log, sqrt

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Times]


@dataclass(frozen=True)
class Durations:
    """A distribution of durations, in seconds.

    ``draw``: of new connections. ``left``: what is left of those open at the start, in
    equilibrium. ``mean``: infinite if connections never end.
    """

    mean: float
    draw: Draw
    left: Draw


def endless() -> Durations:
    """Connections that never end by themselves."""

    def draw(_rng: np.random.Generator, count: int) -> Times:
        return np.full(count, np.inf)

    return Durations(np.inf, draw, draw)


def fixed(mean: float) -> Durations:
    """All last equally long."""
    return Durations(
        mean,
        lambda _rng, count: np.full(count, mean),
        lambda rng, count: rng.random(count) * mean,
    )


def exponential(mean: float) -> Durations:
    """Memoryless: what is left of an open one is as long as a new one."""

    def draw(rng: np.random.Generator, count: int) -> Times:
        return rng.standard_exponential(count) * mean

    return Durations(mean, draw, draw)


def lognormal(median: float, sigma: float) -> Durations:
    """``sigma``: standard deviation of the natural logarithm."""

    def of(middle: float) -> Draw:
        def draw(rng: np.random.Generator, count: int) -> Times:
            return np.exp(log(middle) + sigma * rng.standard_normal(count))

        return draw

    # The length-biased one is lognormal too, and an open one is found anywhere in it.
    biased = of(median * exp(sigma**2))
    return Durations(
        median * exp(sigma**2 / 2),
        of(median),
        lambda rng, count: biased(rng, count) * rng.random(count),
    )


def pareto(minimum: float, alpha: float) -> Durations:
    """Power tail: P(duration > x) = (minimum / x) ** alpha.

    Raises :class:`ValueError` for an alpha without a finite mean.
    """
    if alpha <= 1:
        raise ValueError(f"alpha: {alpha} has no finite mean; choose one above 1")

    def draw(rng: np.random.Generator, count: int, power: float = alpha) -> Times:
        return minimum * (1 - rng.random(count)) ** (-1 / power)

    return Durations(
        minimum * alpha / (alpha - 1),
        draw,
        lambda rng, count: draw(rng, count, alpha - 1) * rng.random(count),
    )


def weibull(scale: float, shape: float) -> Durations:
    """P(duration > x) = exp(-(x / scale) ** shape)."""

    def draw(rng: np.random.Generator, count: int) -> Times:
        drawn: Times = scale * rng.standard_exponential(count) ** (1 / shape)
        return drawn

    def left(rng: np.random.Generator, count: int) -> Times:
        biased = scale * rng.standard_gamma(1 + 1 / shape, count) ** (1 / shape)
        return biased * rng.random(count)

    return Durations(scale * gamma(1 + 1 / shape), draw, left)


def empirical(quantiles: npt.ArrayLike) -> Durations:
    """By equally spaced quantiles, the smallest and the largest duration included.

    Between two of them durations are uniform. Raises :class:`ValueError` if they are not
    ascending, or negative.
    """
    at = np.asarray(quantiles, np.float64)
    if len(at) < 2 or at[0] < 0 or (np.diff(at) < 0).any() or at[-1] <= 0:
        raise ValueError(
            "quantiles: at least two durations, ascending, e.g. [1, 5, 60]"
        )
    widths = np.diff(at)
    #: Of a uniform piece from a to b: its mean, which is its share of those that are open.
    share = np.cumsum(at[:-1] + widths / 2)

    def draw(rng: np.random.Generator, count: int) -> Times:
        place = rng.random(count) * len(widths)
        piece = place.astype(np.int64)
        drawn: Times = at[piece] + (place - piece) * widths[piece]
        return drawn

    def left(rng: np.random.Generator, count: int) -> Times:
        piece = np.searchsorted(share, rng.random(count) * share[-1], side="right")
        low, high = at[piece], at[piece + 1]
        # Density proportional to the duration between the two.
        square = low**2 + rng.random(count) * (high**2 - low**2)
        drawn: Times = np.sqrt(square) * rng.random(count)
        return drawn

    return Durations(float(share[-1] / len(widths)), draw, left)


def sigma_of(median: float, mean: float) -> float:
    """The sigma of a lognormal distribution with that median and that mean.

    >>> round(sigma_of(10.0, lognormal(10.0, 1.5).mean), 6)
    1.5
    """
    return sqrt(2 * log(mean / median))
