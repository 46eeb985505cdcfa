"""Cheetah's simulation: connections that a returning server takes from their owners.

Barbette and others: "A high-speed load-balancer design with guaranteed per-connection
consistency" (NSDI 2020), section 2.2; the simulator and its results are public
(cheetahlb/simulations, ``algorithm_simulation``). It counts a connection as broken each time
that a server which returns takes it: *hash* at each such time; *chain* only if another one
had taken it before, and who had it then still serves. A daisy chain remembers one earlier
owner; ``second-chance`` remembers four.

All connections of a bucket move together. So the course of each bucket is computed once,
and then each connection is looked up in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from controller.balancers.ring import VIRTUAL_NODES
from experiments.model.durations import Durations
from experiments.model.flows import Flows
from experiments.model.population import Arrivals
from experiments.published.hadoop import HADOOP
from experiments.published.outages import outages
from experiments.published.ring_course import RingCourse

Times = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

_THREADS = 2
#: Updates that all courses of one rate have together, at least: chance then matters little.
_UPDATES = 1300


@dataclass(frozen=True)
class Setup:
    """As in the published runs; ``live``: connections at a time."""

    servers: int = 468
    live: int = 14_000
    durations: Durations = HADOOP
    until_s: float = 10_000.0
    buckets: int = 8192
    seed: int = 1

    def population(self) -> Arrivals:
        """Who opens connections, and when."""
        return Arrivals(self.live, self.durations, self.until_s, seed=self.seed)


@dataclass(frozen=True)
class Broken:
    """Of ``connections``: how many times one broke, by a hash alone and with a chain.

    Those of several courses at one rate are added up.
    """

    connections: int
    hash: int
    chain: int


def simulate(
    setup: Setup,
    per_minute: Sequence[float],
    progress: Progress = lambda _done, _all: None,
) -> Mapping[float, Broken]:
    """The same connections at each of these rates of updates."""
    courses = [
        (rate, bucket_course(setup, rate, number))
        for rate in per_minute
        for number in range(ceil(_UPDATES / (rate * setup.until_s / 60)))
    ]
    population = setup.population()
    done = [0]

    def count(number: int) -> tuple[int, list[tuple[int, int]]]:
        flows = population.batch(number)
        words = population.addresses.hashes(flows.clients, flows.ports, basis=2)
        buckets = (words % np.uint32(setup.buckets)).astype(np.int64)
        found = [course.count(buckets, flows) for _, course in courses]
        done[0] += 1
        progress(done[0], population.batches)
        return len(flows), found

    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(count, range(population.batches)))
    total = sum(each for each, _ in results)
    sums = np.array([found for _, found in results]).sum(axis=0)
    of_rate = np.array([rate for rate, _ in courses])
    broken = {}
    for rate in per_minute:
        some = sums[of_rate == rate]
        broken[rate] = Broken(total * len(some), *map(int, some.sum(axis=0)))
    return broken


class Course:
    """When each bucket is taken by a server that returns.

    ``takes``: bucket and time of each. ``pairs``: bucket, and the times of two that follow
    each other and break a daisy chain.
    """

    def __init__(
        self,
        takes: Sequence[tuple[npt.NDArray[np.int64], float]],
        pairs: Sequence[tuple[npt.NDArray[np.int64], Times, float]],
        until_s: float,
    ) -> None:
        self._scale = 1 / (2 * until_s)
        self._takes = np.sort(
            self._keys_of([(b, np.full(len(b), t)) for b, t in takes])
        )
        first = self._keys_of([(b, begin) for b, begin, _ in pairs])
        second = self._keys_of([(b, np.full(len(b), t)) for b, _, t in pairs])
        # One bucket's pairs have both times in the same order.
        self._first, self._second = np.sort(first), np.sort(second)

    def count(self, buckets: npt.NDArray[np.int64], flows: Flows) -> tuple[int, int]:
        """How many times these connections break, by a hash alone and with a chain."""
        begin, end = self._keys(buckets, flows.birth), self._keys(buckets, flows.death)
        place = np.searchsorted(self._takes, begin, side="right")
        ends = np.append(self._takes, np.inf)
        (taken,) = (ends[place] < end).nonzero()
        until = np.searchsorted(self._takes, end[taken])
        by_hash = int((until - place[taken]).sum())
        before = np.searchsorted(self._first, begin[taken], side="right")
        after = np.searchsorted(self._second, end[taken])
        return by_hash, int(np.maximum(after - before, 0).sum())

    def _keys(self, buckets: npt.NDArray[np.int64], times: Times) -> Times:
        """Bucket and time in one number; what is after the end is at the end."""
        within: Times = np.clip(times * self._scale, 0.0, 0.5)
        return buckets + within

    def _keys_of(self, parts: Sequence[tuple[npt.NDArray[np.int64], Times]]) -> Times:
        if not parts:
            return np.zeros(0)
        buckets, times = (np.concatenate(each) for each in zip(*parts, strict=True))
        return self._keys(buckets, times)


def bucket_course(setup: Setup, per_minute: float, number: int = 0) -> Course:
    """One course of all buckets at that rate of updates."""
    rng = np.random.default_rng([setup.seed, round(per_minute * 100), number])
    names = [f"c1n{number}" for number in range(1, setup.servers + 1)]
    ring = RingCourse(names, setup.buckets, VIRTUAL_NODES)
    which: dict[int, int] = {}
    # When each bucket was last taken from an owner that still serves, and that owner.
    since = np.full(setup.buckets, np.nan)
    earlier = np.full(setup.buckets, -1)
    takes, pairs = [], []
    for at, back, outage in outages(per_minute, setup.until_s, rng):
        server = which.setdefault(outage, int(rng.integers(setup.servers)))
        if back and not ring.serving[server]:
            before = ring.owner.copy()
            moved = ring.add(server)
            takes.append((moved, at))
            twice = moved[~np.isnan(since[moved])]
            pairs.append((twice, since[twice].copy(), at))
            since[moved], earlier[moved] = at, before[moved]
        elif not back and ring.serving[server] and ring.serving.sum() > 1:
            since[ring.remove(server)] = np.nan
            since[earlier == server] = np.nan
    return Course(takes, pairs, setup.until_s)
