"""Where connections come from: a workload, arrivals by chance, or a trace.

A population deals its connections out in batches. Each batch has random numbers of its
own, by the seed and its number. So the same seed gives the same connections, whatever is
done with them, and in whatever order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from experiments.model.durations import Durations, Times
from experiments.model.flows import Flows, mixed64
from experiments.model.step_functions import Index
from experiments.model.tuple_hash import Addresses
from nodes.clients.client_ports import PORT_RANGE, seeded_ports

#: Connections of one batch: what is computed with at one time fits a processor's cache.
BATCH = 1 << 16


@dataclass(frozen=True)
class Habits:
    """What clients do with a connection.

    ``interval_s``: between two segments. ``idle_share``: of the connections, those that
    send one each ``idle_interval_s`` instead. ``locks``: how many locks a connection
    holds that holds any, and ``lock_share``, how many do. ``reconnect_s``: from a reset to
    the next attempt. ``rest_s``: a client that closed opens another one after that; None:
    it does not.
    """

    interval_s: float = 0.02
    idle_share: float = 0.0
    idle_interval_s: float = 60.0
    locks: int = 1
    lock_share: float = 0.0
    reconnect_s: float = 0.0
    rest_s: float | None = None


class Population(Protocol):
    """Connections, in batches."""

    @property
    def addresses(self) -> Addresses:
        """The clients' addresses."""

    @property
    def batches(self) -> int:
        """How many batches there are."""

    @property
    def reconnects(self) -> bool:
        """Whether a client that is reset connects again."""

    @property
    def habits(self) -> Habits:
        """What clients do."""

    def batch(self, number: int) -> Flows:
        """One batch."""

    def next_ports(self, flows: Flows) -> npt.NDArray[np.uint16]:
        """The source ports from which clients open these again."""


@dataclass(frozen=True)
class Arrivals:
    """Connections that come by chance, as many on average as there are at the start.

    ``connections``: at the start, in equilibrium; then they arrive as a Poisson process.
    ``until_s``: arrivals after that do not matter. The clients' source ports are all
    different until a client has used each.
    """

    connections: int
    durations: Durations
    until_s: float
    habits: Habits = Habits()
    clients: int = 60_000
    seed: int = 1
    ip: int = 4
    port: int = 10809
    reconnects: bool = True

    @cached_property
    def addresses(self) -> Addresses:
        """The clients' addresses."""
        return Addresses(self.clients, self.ip, self.port)

    @cached_property
    def _counts(self) -> list[int]:
        """How many connections each batch has: first of those open at the start, then of
        those that arrive in one stretch of time after the other."""
        full, rest = divmod(self.connections, BATCH)
        at_start = [BATCH] * full + [rest] * bool(rest)
        expected = self.connections / self.durations.mean * self.until_s
        stretches = int(np.ceil(expected / BATCH))
        arriving = self._random("arriving").poisson(
            expected / max(1, stretches), stretches
        )
        return at_start + [int(count) for count in arriving]

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return len(self._counts)

    def batch(self, number: int) -> Flows:
        """One batch."""
        at_start = -(-self.connections // BATCH)
        rng = self._random("batch", number)
        count, first = self._counts[number], self._firsts[number]
        if number < at_start:
            birth = np.full(count, -1.0)
            death = self.durations.left(rng, count)
        else:
            stretch = self.until_s / (self.batches - at_start)
            begin = (number - at_start) * stretch
            birth = begin + np.sort(rng.random(count)) * stretch
            death = birth + self.durations.draw(rng, count)
        return self._flows(rng, first, birth, death)

    def next_ports(self, flows: Flows) -> npt.NDArray[np.uint16]:
        """Any port, by chance."""
        key = flows.slot.astype(np.uint64) << np.uint64(24)
        key += flows.generation.astype(np.uint64) * np.uint64(0x1000193)
        key += flows.clients.astype(np.uint64) << np.uint64(8)
        drawn = mixed64(key ^ np.uint64(self.seed)) % np.uint64(len(PORT_RANGE))
        return (drawn + np.uint64(PORT_RANGE.start)).astype(np.uint16)

    def _flows(
        self,
        rng: np.random.Generator,
        first: int,
        birth: npt.NDArray[np.float64],
        death: npt.NDArray[np.float64],
    ) -> Flows:
        serial = np.arange(first, first + len(birth))
        clients = (serial % self.clients).astype(np.uint16)
        slot = serial // self.clients
        places = (slot + self._shifts[clients]) % len(PORT_RANGE)
        ports = (PORT_RANGE.start + places).astype(np.uint16)
        interval, phase, locks = drawn_habits(rng, self.habits, len(birth))
        return Flows(
            *(clients, ports, birth, death, interval, phase, locks),
            slot.astype(np.int32),
            np.zeros(len(birth), np.uint16),
        )

    @cached_property
    def _firsts(self) -> list[int]:
        """The serial number of each batch's first connection."""
        return [0, *accumulate(self._counts)]

    @cached_property
    def _shifts(self) -> Index:
        """At which port each client begins."""
        return self._random("shifts").integers(0, len(PORT_RANGE), self.clients)

    def _random(self, what: str, number: int = 0) -> np.random.Generator:
        words = [self.seed, number, *what.encode()]
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))


@dataclass(frozen=True)
class Slots:
    """The connections of a run's clients: the same 4-tuples from the same seed.

    ``shares``: how many each client has. Each is opened before the first event; a client
    that was reset takes the next port of that slot (:class:`SourcePorts` in
    ``nodes/clients/client_ports.py``), or the same one with ``keep``. ``work_s``: how
    long the client keeps one open; None: until the end.
    """

    shares: Sequence[int]
    habits: Habits
    steady_s: float
    seed: int
    ip: int
    port: int
    keep: bool = False
    work_s: float | None = None
    reconnects: bool = True
    batches: int = 1

    @cached_property
    def addresses(self) -> Addresses:
        """The clients' addresses."""
        return Addresses(len(self.shares), self.ip, self.port)

    @cached_property
    def _orders(self) -> npt.NDArray[np.uint16]:
        orders = [
            seeded_ports(self.seed, f"h{number}")
            for number in range(1, len(self.shares) + 1)
        ]
        return np.array(orders, np.uint16)

    def batch(self, number: int) -> Flows:
        """All of them."""
        shares = np.array(self.shares)
        clients = np.repeat(np.arange(len(shares)), shares)
        slot = np.concatenate([np.arange(share) for share in shares])
        birth = np.full(len(clients), -self.steady_s - 1e-9)
        work_s = np.inf if self.work_s is None else self.work_s
        seed = np.random.SeedSequence([self.seed, number])
        interval, phase, locks = drawn_habits(
            np.random.Generator(np.random.SFC64(seed)), self.habits, len(clients)
        )
        return Flows(
            clients.astype(np.uint16),
            self._orders[clients, slot],
            *(birth, birth + work_s, interval, phase, locks),
            slot.astype(np.int32),
            np.zeros(len(clients), np.uint16),
        )

    def next_ports(self, flows: Flows) -> npt.NDArray[np.uint16]:
        """The next port of each slot; a client has one more, to verify at the end."""
        if self.keep:
            return flows.ports
        shares = np.array(self.shares)[flows.clients] + 1
        total = self._orders.shape[1]
        of_slot = (total - flows.slot - 1) // shares + 1
        place = (flows.generation + 1) % of_slot * shares + flows.slot
        ports: npt.NDArray[np.uint16] = self._orders[flows.clients, place]
        return ports


@dataclass(frozen=True)
class Trace:
    """Connections of a trace: when each begins, and how long it lasts, in seconds.

    A client that is reset does not connect again: what it did then is in the trace.
    ``tuples``: client (less one) and port of each; None: any.
    """

    starts: Times
    lasts: Times
    habits: Habits
    clients: int
    seed: int
    ip: int
    port: int
    tuples: tuple[Index, Index] | None = None
    reconnects: bool = False

    @cached_property
    def addresses(self) -> Addresses:
        """The clients' addresses."""
        return Addresses(self.clients, self.ip, self.port)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return -(-len(self.starts) // BATCH)

    def batch(self, number: int) -> Flows:
        """One batch."""
        some = slice(number * BATCH, (number + 1) * BATCH)
        birth = self.starts[some].astype(np.float64)
        serial = np.arange(len(self.starts))[some]
        seed = np.random.SeedSequence([self.seed, number])
        rng = np.random.Generator(np.random.SFC64(seed))
        if self.tuples is None:
            clients = serial % self.clients
            ports = rng.integers(PORT_RANGE.start, PORT_RANGE.stop, len(birth))
        else:
            clients, ports = (each[some] for each in self.tuples)
        interval, phase, locks = drawn_habits(rng, self.habits, len(birth))
        return Flows(
            clients.astype(np.uint16),
            ports.astype(np.uint16),
            birth,
            birth + self.lasts[some],
            interval,
            phase,
            locks,
            serial.astype(np.int32),
            np.zeros(len(birth), np.uint16),
        )

    def next_ports(self, flows: Flows) -> npt.NDArray[np.uint16]:
        """The same ones: nothing is opened again."""
        return flows.ports


def drawn_habits(
    rng: np.random.Generator, habits: Habits, count: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Interval, phase and locks of that many connections."""
    interval = np.full(count, habits.interval_s, np.float32)
    if habits.idle_share:
        idle = rng.random(count, np.float32) < habits.idle_share
        interval[idle] = habits.idle_interval_s
    phase = rng.random(count, np.float32)
    locks = np.zeros(count, np.uint8)
    if habits.lock_share:
        locks[rng.random(count, np.float32) < habits.lock_share] = habits.locks
    return interval, phase, locks
