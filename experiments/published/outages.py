"""Servers that go and return by chance, as in the simulations of Cheetah and of JET.

Both take the durations of outages from one published distribution, and so do we, in three
numbers: 94 % last two to three minutes, 4 % up to eleven minutes, 2 % six hours to six days
(60 to 567,076 s there).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_COMMON, _LONG = (120.0, 180.0), (180.0, 670.0)
_COMMON_SHARE, _LONG_SHARE = 0.94, 0.04
_ENDLESS = (20_000.0, 567_076.0)


class Outage(NamedTuple):
    """At ``at_s`` a server leaves (``back`` is false) or returns; ``number``: which outage."""

    at_s: float
    back: bool
    number: int


def outage_s(rng: np.random.Generator) -> float:
    """How long one outage lasts."""
    kind, place = rng.random(2)
    if kind < _COMMON_SHARE:
        low, high = _COMMON
    elif kind < _COMMON_SHARE + _LONG_SHARE:
        low, high = _LONG
    else:
        low, high = _ENDLESS
    return float(low + place * (high - low))


def outages(
    per_minute: float, until_s: float, rng: np.random.Generator
) -> Iterator[Outage]:
    """In order of time; the first is at 0, the others are a Poisson process."""
    returns: list[Outage] = []
    at, number = 0.0, 0
    while at < until_s:
        while returns and returns[0].at_s <= at:
            yield heapq.heappop(returns)
        yield Outage(at, False, number)
        heapq.heappush(returns, Outage(at + outage_s(rng), True, number))
        at += float(rng.standard_exponential()) * 60 / per_minute
        number += 1
    while returns and returns[0].at_s < until_s:
        yield heapq.heappop(returns)
