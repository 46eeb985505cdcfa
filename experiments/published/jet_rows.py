"""JET's simulation: full tracking in a table that is too small, and just enough tracking.

Mendelson and others: "Load balancing with JET: just enough tracking for connection
consistency" (CoNEXT 2021), section 5; the simulator and one result are public
(anchorhash/jetlb, ``simulations/event-driven``). Both designs hash with AnchorHash, here the
balancer's own class. Both remember connections in a table that forgets the least recently
used. *Full* tracks every connection. *JET* tracks those that one of the next 70 servers to
join would take. A connection is broken if, at one of its packets, it is sent to another
server than at first.

As there, packets are looked at when a server leaves or joins, and at the connection's end;
connections of a server that leaves are lost with it, and not counted.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controller.balancers.anchor import AnchorHash
from experiments.published.hadoop import HADOOP
from experiments.published.outages import outages

Times = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

#: Packets of a connection: 65 % have up to 17, the others up to 5,000, each share evenly
#: over orders of magnitude (theirs: from 1 on, seven in ten have fewer than a hundred).
_FEW, _MANY, _MOST = 2.0, 17.0, 5000.0
_FEW_SHARE = 0.65


@dataclass(frozen=True)
class Setup:
    """A twentieth of theirs, but for the servers: 100,000 live and a table of 25,000 there."""

    servers: int = 468
    horizon: int = 70
    capacity: int = 936
    live: int = 5_000
    table: int = 1_250
    updates_per_minute: float = 10.0
    until_s: float = 1000.0
    seed: int = 1


@dataclass(frozen=True)
class Broken:
    """Of ``connections``, how many were broken under each design; ``tracked``: the most
    that JET had in its table at one time."""

    connections: int
    full: int
    jet: int
    tracked: int


@dataclass
class Tracker:
    """A load balancer: AnchorHash and a table; ``horizon``: None tracks everything."""

    anchor: AnchorHash
    size: int
    horizon: int | None = None
    table: OrderedDict[int, int] = field(default_factory=OrderedDict)
    broken: set[int] = field(default_factory=set)
    most: int = 0

    def server_of(self, connection: int) -> int:
        """Where a packet goes; the table learns."""
        server = self.table.get(connection)
        if server is None:
            path = self.anchor.path_of(connection)
            server = path[-1]
            if self.horizon is not None:
                soon = self.anchor.size + self.horizon
                if not any(self.anchor.size_at[place] < soon for place in path[:-1]):
                    return server
            self.table[connection] = server
            if len(self.table) > self.size:
                self.table.popitem(last=False)
            self.most = max(self.most, len(self.table))
        else:
            self.table.move_to_end(connection)
        return server

    def packet(self, connection: int, owner: int) -> None:
        """A packet of a connection that belongs to ``owner``."""
        if self.server_of(connection) != owner:
            self.broken.add(connection)


def simulate(setup: Setup, progress: Progress = lambda _done, _all: None) -> Broken:
    """Both designs, on the same connections and outages."""
    rng = np.random.default_rng([setup.seed, 7])
    world = _World(setup, rng)
    anchor = AnchorHash(setup.capacity, setup.servers)
    full = Tracker(anchor, setup.table)
    jet = Tracker(anchor, setup.table, setup.horizon)
    changes = outages(setup.updates_per_minute, setup.until_s, rng)
    following = iter([*changes])
    begun = 0
    for change in following:
        begun = world.run_until(change.at_s, (full, jet), begun)
        if change.back:
            anchor.join()
        else:
            taken = [
                place for place in range(setup.capacity) if not anchor.size_at[place]
            ]
            lost = taken[int(rng.integers(len(taken)))]
            anchor.leave(lost)
            world.lose(lost)
        for connection in world.speaking(change.at_s):
            owner = int(world.owner[connection])
            full.packet(connection, owner)
            jet.packet(connection, owner)
        progress(int(change.at_s), int(setup.until_s))
    begun = world.run_until(setup.until_s, (full, jet), begun)
    return Broken(begun, len(full.broken), len(jet.broken), jet.most)


class _World:
    """The connections: when they begin and end, their packets, and to whom they belong."""

    def __init__(self, setup: Setup, rng: np.random.Generator) -> None:
        count = int(rng.poisson(setup.live / HADOOP.mean * setup.until_s))
        self._rng = rng
        self.birth: Times = np.sort(rng.random(count)) * setup.until_s
        self.death: Times = self.birth + HADOOP.draw(rng, count)
        self._left = _packets(rng, count)
        self._seen = self.birth.copy()
        self.owner = np.full(count, -1)
        self._ends: list[tuple[float, int]] = []

    def run_until(self, at: float, designs: tuple[Tracker, ...], begun: int) -> int:
        """Connections begin and end until then; returns how many have begun."""
        while True:
            birth = self.birth[begun] if begun < len(self.birth) else np.inf
            if self._ends and self._ends[0][0] <= min(birth, at):
                _, connection = heapq.heappop(self._ends)
                self._end(connection, designs)
            elif birth < at:
                for design in designs:
                    self.owner[begun] = design.server_of(begun)
                heapq.heappush(self._ends, (float(self.death[begun]), begun))
                begun += 1
            else:
                return begun

    def _end(self, connection: int, designs: tuple[Tracker, ...]) -> None:
        owner = int(self.owner[connection])
        if owner >= 0:
            for design in designs:
                design.packet(connection, owner)
                design.table.pop(connection, None)
            self.owner[connection] = -1

    def lose(self, server: int) -> None:
        """A server leaves, and its connections with it."""
        self.owner[self.owner == server] = -1

    def speaking(self, at: float) -> Iterator[int]:
        """Those that have sent packets since they were last asked, in random order."""
        (live,) = (self.owner >= 0).nonzero()
        live = live[self._seen[live] < at]
        passed = (at - self._seen[live]) / (self.death[live] - self._seen[live])
        sent = self._rng.binomial(self._left[live], np.clip(passed, 0.0, 1.0))
        self._left[live] -= sent
        self._seen[live] = at
        active = live[sent > 0]
        self._rng.shuffle(active)
        return iter(active.tolist())


def _packets(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    few = rng.random(count) < _FEW_SHARE
    low, high = np.where(few, _FEW, _MANY), np.where(few, _MANY, _MOST)
    drawn: npt.NDArray[np.int64] = (low * (high / low) ** rng.random(count)).astype(int)
    return drawn


def max_load(setup: Setup, live: int, seed: int) -> float:
    """Connections of the busiest server, divided by the mean; ``live`` connections."""
    anchor = AnchorHash(setup.capacity, setup.servers)
    places = [anchor.place_of(f"{seed}/{number}") for number in range(live)]
    counts = np.bincount(places, minlength=setup.servers)
    return float(counts.max() / counts.mean())
