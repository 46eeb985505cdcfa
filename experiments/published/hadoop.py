"""Durations of connections in the simulations of Cheetah and of JET (Hadoop).

Both take them from one published distribution, given by 14 points. We describe it by four
kinds: 93 % are short, 2 % and 4.8 % last minutes, and 0.2 % up to ten minutes. The few long
ones are two thirds of those that are open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.model.durations import Durations, Times

_SHARES = np.array([0.93, 0.02, 0.048, 0.002])


def _of_kinds(seconds: Sequence[float]) -> Durations:
    """The short kind is exponential with this mean; the others last that long."""
    lasting = np.array(seconds)

    def draw(rng: np.random.Generator, count: int) -> Times:
        kind = rng.choice(4, count, p=_SHARES)
        drawn: Times = lasting[kind]
        short = kind == 0
        drawn[short] *= rng.standard_exponential(int(short.sum()))
        return drawn

    def left(rng: np.random.Generator, count: int) -> Times:
        weights = _SHARES * lasting
        kind = rng.choice(4, count, p=weights / weights.sum())
        left: Times = lasting[kind]
        short = kind == 0
        left[short] *= rng.standard_exponential(int(short.sum()))
        left[~short] *= rng.random(int((~short).sum()))
        return left

    return Durations(float(_SHARES @ lasting), draw, left)


#: A duration is one of the points, as in the published simulators. Mean 21.3 s.
HADOOP = _of_kinds([7.8, 100.0, 226.0, 602.0])
#: Durations also lie between the points: the mean is 18.2 s.
HADOOP_BETWEEN = _of_kinds([6.1, 69.0, 214.0, 415.0])
