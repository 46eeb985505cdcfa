"""Connections as arrays: who has them, when they begin and end, when they speak."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.model.durations import Times
from experiments.model.step_functions import Index


@dataclass(frozen=True)
class Flows:
    """Some connections. Times are seconds; 0 is when the first clients are steady.

    ``clients``: their numbers less one. ``birth``, ``death``: when the client opens and
    closes it; infinite: not by itself. It sends a segment each ``interval`` seconds,
    ``phase`` (a share of the interval) after whole ones. ``locks``: how many it holds.
    ``slot``: which of its client's connections it is. ``generation``: how often this one
    has been opened before.
    """

    clients: npt.NDArray[np.uint16]
    ports: npt.NDArray[np.uint16]
    birth: Times
    death: Times
    interval: npt.NDArray[np.float32]
    phase: npt.NDArray[np.float32]
    locks: npt.NDArray[np.uint8]
    slot: npt.NDArray[np.int32]
    generation: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.clients)

    def take(self, index: Any) -> Flows:
        """Some of them."""
        return Flows(*(getattr(self, one.name)[index] for one in fields(self)))

    def speaks(self, index: Index, after: Times) -> Times:
        """When the clients at ``index`` send their next segment, at ``after`` or later.

        A client that closes says so: its FIN is a segment too.
        """
        interval = self.interval[index].astype(np.float64)
        phase = self.phase[index]
        with np.errstate(invalid="ignore"):
            turns = np.ceil(after / interval - phase)
            next_s = np.maximum((turns + phase) * interval, after)
        never = np.isinf(interval)
        if never.any():
            next_s[never] = np.inf
        return np.minimum(next_s, np.maximum(self.death[index], after))

    def spoke_last(self, index: Index, before: Times) -> Times:
        """When the clients at ``index`` last sent a segment before ``before``."""
        interval, phase = self.interval[index].astype(np.float64), self.phase[index]
        last = (np.ceil(before / interval - phase) - 1 + phase) * interval
        return np.maximum(last, self.birth[index])

    def reopened(
        self, index: Index, birth: Times, ports: npt.NDArray[np.uint16]
    ) -> Flows:
        """Those at ``index``, opened again by their clients at ``birth``."""
        some = self.take(index)
        return replace(
            some, birth=birth, ports=ports, generation=some.generation + np.uint16(1)
        )

    def living(self, seconds: Times) -> Flows:
        """The same, closed so long after they were opened."""
        return replace(self, death=self.birth + seconds)


def joined(parts: list[Flows]) -> Flows:
    """All of these together."""
    if len(parts) == 1:
        return parts[0]
    names = [one.name for one in fields(Flows)]
    return Flows(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def mixed64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Random numbers that depend on ``values`` alone, one for each.

    The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014).
    """
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
