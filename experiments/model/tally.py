"""Counts of what became of connections: sums only, so that parts can be added up.

Nothing here grows with the number of connections or with the simulated time: a course
over time has :data:`BINS` bins at most, and loads are taken at some looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from experiments.model.durations import Times
from experiments.model.step_functions import Index

Counts = npt.NDArray[np.int64]

#: Bins of a course over time, at most; and the shortest bin, in seconds.
BINS = 1 << 16
SHORTEST_S = 1e-3
#: Cells of the loads (looks times nodes), at most, and looks.
CELLS = 1 << 20
MOST_LOOKS = 64
#: How long before the start the first look is; before an event that comes at once.
_BEFORE_S = 1e-9
#: Bins of a histogram of durations: 100 for each factor of e, from a microsecond on.
_PER_E, _FROM_S, _DURATION_BINS = 100, 1e-6, 3500


@dataclass
class DurationHistogram:
    """Durations, each to one percent; ``longest`` is exact."""

    counts: Counts = field(default_factory=lambda: np.zeros(_DURATION_BINS, np.int64))
    longest: float = 0.0

    def add(self, durations: Times) -> None:
        """Count these, in seconds."""
        if len(durations):
            bins = self._places(durations)
            self.counts += np.bincount(bins, minlength=_DURATION_BINS)
            self.longest = max(self.longest, float(durations.max()))

    def add_many(self, durations: Times, numbers: Counts) -> None:
        """Count each of these so often; a negative number takes some away."""
        np.add.at(self.counts, self._places(durations), numbers)
        if (numbers > 0).any():
            longest = float(durations[numbers > 0].max())
            self.longest = max(self.longest, longest)

    def counted(self, duration: Times) -> int:
        """How many there are like this one."""
        return int(self.counts[self._places(duration)].sum())

    def merge(self, other: DurationHistogram) -> None:
        """Add the other's."""
        self.counts += other.counts
        self.longest = max(self.longest, other.longest)

    @staticmethod
    def _places(durations: Times) -> Index:
        logs = np.log(np.maximum(durations, _FROM_S) / _FROM_S) * _PER_E
        places: Index = np.minimum(logs.astype(np.int64), _DURATION_BINS - 1)
        return places

    def quantile(self, share: float) -> float | None:
        """The duration that this share does not exceed, in seconds; None if there are
        none."""
        total = int(self.counts.sum())
        if not total:
            return None
        rank = max(1, int(np.ceil(share * total)))
        place = int(np.searchsorted(np.cumsum(self.counts), rank))
        middle = _FROM_S * float(np.exp((place + 0.5) / _PER_E))
        return min(middle, self.longest)


class Clock:
    """The bins of a course from 0 to ``horizon_s``, and the looks at the nodes' loads."""

    def __init__(self, horizon_s: float, nodes: int) -> None:
        self.horizon_s = horizon_s
        self.bin_s = max(horizon_s / BINS, SHORTEST_S)
        self.bins = int(np.ceil(horizon_s / self.bin_s)) + 1
        self.nodes = nodes
        count = int(np.clip(CELLS // max(1, nodes), 2, MOST_LOOKS))
        #: Just before the start, then evenly until the end.
        self._pause_s = horizon_s / (count - 1)
        self.looks = np.arange(count) * self._pause_s - _BEFORE_S

    def look_after(self, times: Times) -> Index:
        """The first look at each time or later; the number of looks if there is none."""
        with np.errstate(invalid="ignore"):
            place = np.ceil((times + _BEFORE_S) / self._pause_s)
        return np.clip(place, 0, len(self.looks)).astype(np.int64)

    def bin_of(self, times: Times) -> Index:
        """The bin of each time: 0 is until the start, ``bins`` is after the end."""
        with np.errstate(invalid="ignore"):
            place = np.ceil(np.minimum(times, 2 * self.horizon_s) / self.bin_s)
        return np.clip(place, 0, self.bins).astype(np.int64)


class Tally:
    """What has been counted. ``numbers``: by name. ``courses``: by name, differences from
    bin to bin. ``of_event``: by name, a count for each change (position 0 is unused).
    ``durations``: by name. ``loads``: differences from look to look, for each node."""

    def __init__(self, clock: Clock, eras: int) -> None:
        self.clock, self.eras = clock, eras
        self.numbers: Counter[str] = Counter()
        self.courses: dict[str, Counts] = {}
        self.of_event: dict[str, Counts] = {}
        self.durations: dict[str, DurationHistogram] = {}
        self.loads: dict[str, Counts] = {}

    def count(self, name: str, number: int) -> None:
        """Add to a number."""
        self.numbers[name] += int(number)

    def happen(
        self, name: str, times: Times, weights: Times | None = None, sign: int = 1
    ) -> None:
        """Count what happens at these times."""
        size = self.clock.bins + 1
        if name not in self.courses:
            self.courses[name] = np.zeros(size, np.int64)
        found = np.bincount(self.clock.bin_of(times), weights, minlength=size)
        self.courses[name] += sign * found.astype(np.int64)

    def last(
        self, name: str, begin: Times, end: Times, weights: Times | None = None
    ) -> None:
        """Count what is there from one time to another, each."""
        self.happen(name, begin, weights)
        self.happen(name, end, weights, -1)

    def in_eras(self, name: str, eras: Index) -> None:
        """Count one for the change that each era begins with."""
        if name not in self.of_event:
            self.of_event[name] = np.zeros(self.eras + 1, np.int64)
        self.of_event[name] += np.bincount(eras, minlength=self.eras + 1)

    def load(self, name: str, node: Index, begin: Times, end: Times) -> None:
        """Count connections of each node at the looks."""
        looks = self.clock.looks
        first, after = self.clock.look_after(begin), self.clock.look_after(end)
        seen = first < after
        cells = len(looks) * self.clock.nodes
        if name not in self.loads:
            self.loads[name] = np.zeros(cells, np.int64)
        found = self.loads[name]
        places = first[seen] * self.clock.nodes + node[seen]
        np.add.at(found, places, 1)
        gone = seen & (after < len(looks))
        np.subtract.at(found, after[gone] * self.clock.nodes + node[gone], 1)

    def lasted(self, name: str, durations: Times) -> None:
        """Count durations."""
        self.durations.setdefault(name, DurationHistogram()).add(durations)

    def merge(self, other: Tally) -> None:
        """Add another one's counts."""
        self.numbers.update(other.numbers)
        for mine, others in (
            (self.courses, other.courses),
            (self.of_event, other.of_event),
            (self.loads, other.loads),
        ):
            for name, counts in others.items():
                if name in mine:
                    mine[name] += counts
                else:
                    mine[name] = counts
        for name, histogram in other.durations.items():
            self.durations.setdefault(name, DurationHistogram()).merge(histogram)

    def course(self, name: str) -> Counts:
        """How many there are in each bin, or have happened until then."""
        size = self.clock.bins
        counts = self.courses.get(name)
        return np.zeros(size, np.int64) if counts is None else np.cumsum(counts[:size])

    def events_of(self, name: str) -> Counts:
        """One count for each change."""
        counts = self.of_event.get(name)
        return np.zeros(self.eras - 1, np.int64) if counts is None else counts[1:-1]

    def live_at_events(self) -> Counts:
        """How many connections are open when each change happens."""
        if not self.of_event:
            return np.zeros(self.eras - 1, np.int64)
        both = np.cumsum(self.of_event["opened"] - self.of_event["ended"])
        live: Counts = both[: self.eras - 1]
        return live

    def loads_of(self, name: str) -> Counts:
        """Connections at each look (row), of each node (column)."""
        shape = len(self.clock.looks), self.clock.nodes
        counts = self.loads.get(name)
        if counts is None:
            return np.zeros(shape, np.int64)
        return np.cumsum(counts.reshape(shape), axis=0)
