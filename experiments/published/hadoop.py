"""Durations of connections in the simulations of Cheetah and of JET (Hadoop).

Both take them from one published distribution, whose mean is 21.3 s. We describe it by four
kinds: 93 % are short, 7.8 s on average; 2 % last 100 s, 4.8 % some 226 s and 0.2 % ten
minutes. The few long ones are two thirds of those that are open.
"""

from __future__ import annotations

import numpy as np

from experiments.model.durations import Durations, Times

_SHARES = np.array([0.93, 0.02, 0.048, 0.002])
_SECONDS = np.array([7.8, 100.0, 226.0, 602.0])


def _draw(rng: np.random.Generator, count: int) -> Times:
    kind = rng.choice(4, count, p=_SHARES)
    drawn: Times = _SECONDS[kind]
    short = kind == 0
    drawn[short] *= rng.standard_exponential(int(short.sum()))
    return drawn


def _left(rng: np.random.Generator, count: int) -> Times:
    weights = _SHARES * _SECONDS
    kind = rng.choice(4, count, p=weights / weights.sum())
    left: Times = _SECONDS[kind]
    short = kind == 0
    left[short] *= rng.standard_exponential(int(short.sum()))
    left[~short] *= rng.random(int((~short).sum()))
    return left


HADOOP = Durations(float(_SHARES @ _SECONDS), _draw, _left)
