"""Computes what becomes of every connection of a population, batch by batch.

Connections do not influence each other: what becomes of one follows from its own times
and its own way through the cluster's course. So no batch waits for another, and memory
does not grow with their number. What they share is counted, and the budget of fan-outs is
applied to the counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from controller.policies.questions import Memory
from experiments.model.conduct import Conduct
from experiments.model.danger import danger_of
from experiments.model.durations import Times
from experiments.model.fates import Fates, fates_of
from experiments.model.flows import Flows, joined
from experiments.model.membership_changes import Changes
from experiments.model.moved import Moved
from experiments.model.population import BATCH, Population
from experiments.model.routes import Mask, Routes
from experiments.model.step_functions import Index
from experiments.model.tally import Clock, Tally
from experiments.model.tuple_hash import Hashes

#: Seconds in which a client is reset, also on a busy machine.
DUE_S = 0.25
#: With fewer batches one process is quicker.
_WORTH_A_PROCESS = 6
#: Seconds between two looks at what processes have done.
_LOOK_S = 0.5
#: Told after each batch: the batches that are done, and all of them.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Computation:
    """What there is to compute: the course, the connections, and what is done about moved
    ones, until ``horizon_s``. ``threads``: how many processes share the work."""

    changes: Changes
    population: Population
    conduct: Conduct
    horizon_s: float
    threads: int = 2


def compute(
    computation: Computation,
    progress: Progress = lambda _done, _all: None,
    routes: Routes | None = None,
) -> Tally:
    """The counts. ``routes``: of the same changes, if they are there already.

    Raises :class:`ComputationEnded` if a process of it was killed.
    """
    routes = routes or Routes(computation.changes)
    batches = computation.population.batches
    if computation.threads < 2 or batches < _WORTH_A_PROCESS:
        return part_of(
            computation, routes, (0, 1), lambda done: progress(done, batches)
        )
    return _in_processes(computation, routes, progress)


class ComputationEnded(RuntimeError):
    """A process of the computation has ended before its time."""


def part_of(
    computation: Computation,
    routes: Routes,
    part: tuple[int, int],
    progress: Callable[[int], None] = lambda _done: None,
) -> Tally:
    """The counts of each batch whose number leaves that rest: ``part`` is rest and
    divisor. So they do not depend on who is quicker."""
    first, of = part
    tally = Tally(Clock(computation.horizon_s, len(routes.nodes)), routes.eras)
    fresh = range(first, computation.population.batches, of)
    for done, _ in enumerate(_work(computation, routes, tally, fresh), start=1):
        progress(done)
    return tally


def _in_processes(
    computation: Computation, routes: Routes, progress: Progress
) -> Tally:
    """The same by several processes. (Threads would wait for each other: the operations
    on arrays are short.)"""
    context, parts = get_context("fork"), computation.threads
    done = context.Array("q", parts)
    children = []
    for number in range(parts):
        reader, writer = context.Pipe(duplex=False)
        given = (computation, routes, (number, parts), done, writer)
        child = context.Process(target=_send_part, args=given, daemon=True)
        child.start()
        writer.close()
        children.append((child, reader))
    tallies: list[Tally] = []
    for child, reader in children:
        while not reader.poll(_LOOK_S):
            progress(sum(done[:]), computation.population.batches)
        try:
            tallies.append(reader.recv())
        except EOFError as error:
            child.join()
            raise ComputationEnded(
                f"a process of the computation ended with status {child.exitcode}; "
                "if it was killed: was there enough memory?"
            ) from error
        child.join()
    whole, *others = tallies
    for other in others:
        whole.merge(other)
    return whole


def _send_part(
    computation: Computation,
    routes: Routes,
    part: tuple[int, int],
    done: Any,
    writer: Connection,
) -> None:
    """A process: sends its part's counts. It ends when its parent has."""
    parent = os.getppid()

    def progress(batches: int) -> None:
        done[part[0]] = batches
        if os.getppid() != parent:
            os._exit(1)

    writer.send(part_of(computation, routes, part, progress))


def _work(
    computation: Computation, routes: Routes, tally: Tally, fresh: range
) -> Iterator[int]:
    """Batch after batch, and what clients open again: together where it is little.
    Yields 1 after each batch."""
    waiting: list[Flows] = []
    numbers = iter(fresh)
    while True:
        if sum(map(len, waiting)) >= BATCH:
            flows, waiting = joined(waiting), []
        elif (number := next(numbers, None)) is not None:
            flows = computation.population.batch(number)
            yield 1
        elif waiting:
            flows, waiting = joined(waiting), []
        else:
            return
        waiting += settle(computation, routes, tally, flows)


def settle(
    computation: Computation, routes: Routes, tally: Tally, flows: Flows
) -> list[Flows]:
    """Counts what becomes of these; returns those that clients open again."""
    node, born, moved = moved_of(computation, routes, flows)
    fates = fates_of(moved, computation.conduct)
    index, last = moved.index, np.minimum(flows.death, computation.horizon_s)
    end = last.copy()
    end[index] = np.minimum(end[index], fates.reset)
    _count_all(tally, computation, routes, flows, (node, born), end)
    if len(index):
        _count_moved(tally, computation, moved, fates)
    return list(_opened_again(computation, tally, flows, moved, fates))


def moved_of(
    computation: Computation, routes: Routes, flows: Flows
) -> tuple[Index, Index, Moved]:
    """The node of each connection and the era that it begins in; and those that move."""
    hashes = Hashes(computation.population.addresses, flows.clients, flows.ports)
    horizon = computation.horizon_s
    born = routes.era_of(flows.birth)
    way = routes.way(hashes, None, born)
    last = np.minimum(flows.death, horizon)
    index = (routes.begins(way.until) < last).nonzero()[0]
    era = routes.departures(
        hashes, index, way.node[index], way.until[index], last[index]
    )
    gone = era < routes.eras
    index, era = index[gone], era[gone]
    owner = way.node[index]
    loss = routes.power.until[routes.power.at(owner, born[index])]
    moved = Moved(
        *(flows, hashes, routes, index, owner, era, loss, last[index], horizon)
    )
    return way.node, born, moved


def _opened_again(
    computation: Computation, tally: Tally, flows: Flows, moved: Moved, fates: Fates
) -> Iterator[Flows]:
    """What clients open after a reset, or after they have closed and rested."""
    population, horizon = computation.population, computation.horizon_s
    habits = population.habits
    if population.reconnects and len(moved):
        birth = fates.reset + habits.reconnect_s
        chosen = (fates.reset < moved.last) & (birth < horizon)
        which = moved.index[chosen]
        tally.count("reconnected", len(which))
        if len(which):
            yield _again(population, flows, which, birth[chosen])
    if habits.rest_s is not None:
        reset = np.full(len(flows), np.inf)
        reset[moved.index] = fates.reset
        birth = flows.death + habits.rest_s
        (which,) = ((birth < horizon) & (reset >= flows.death)).nonzero()
        tally.count("reopened", len(which))
        if len(which):
            again = _again(population, flows, which, birth[which])
            work = flows.death[which] - flows.birth[which]
            yield again.living(work)


def _again(
    population: Population,
    flows: Flows,
    which: Index,
    birth: Times,
) -> Flows:
    ports = population.next_ports(flows.take(which))
    return flows.reopened(which, birth, ports)


def _count_all(
    tally: Tally,
    computation: Computation,
    routes: Routes,
    flows: Flows,
    where: tuple[Index, Index],
    end: Times,
) -> None:
    """Numbers of all connections, and where and when they are; ``where``: node and era."""
    (node, born), horizon = where, computation.horizon_s
    tally.count("opened", len(flows))
    tally.count("closed", (flows.death <= end).sum())
    ends = np.where(end < horizon, end, np.inf)
    tally.last("live", flows.birth, ends)
    tally.in_eras("opened", born)
    tally.in_eras("ended", routes.era_of(end[end < horizon]))
    tally.load("live", node, flows.birth, ends)
    if computation.conduct.policy.pins:
        _count_pins(tally, computation, routes, flows, (where, end))


def _count_pins(
    tally: Tally,
    computation: Computation,
    routes: Routes,
    flows: Flows,
    lives: tuple[tuple[Index, Index], Times],
) -> None:
    """Pinned entries of both tiers. A client that was reset says nothing more, so its
    entries stay; ``lives``: node and era of each connection, and its end."""
    (node, born), end = lives
    closes = (flows.death <= end) & (end < computation.horizon_s)
    until = np.where(closes, end + computation.conduct.delays.pin_s, np.inf)
    if computation.conduct.policy.memory is Memory.CONNECTIONS:
        for name in ("pins", "pins", "pins_fabric"):
            tally.last(name, flows.birth, until)
        return
    danger = danger_of(computation.changes, routes)
    hashes = Hashes(computation.population.addresses, flows.clients, flows.ports)
    tiers = np.zeros(len(flows), np.int64), routes.chassis_of[node] + 1
    for tier, names in zip(tiers, (("pins", "pins_fabric"), ("pins",)), strict=True):
        since = danger.pinned(routes, flows, hashes, tier, born)
        some = since < end
        for name in names:
            tally.last(name, since[some], until[some])


def _count_moved(
    tally: Tally, computation: Computation, moved: Moved, fates: Fates
) -> None:
    """What became of those that moved."""
    horizon, routes = computation.horizon_s, moved.routes
    # A client that had closed before its reset came has lost nothing by it.
    spoke, reset = fates.stray < horizon, fates.reset < moved.last
    held = fates.held_from < horizon
    left = held & (fates.held_to >= horizon)
    # One whose reset comes right after the end does not hang.
    waits = fates.reset > np.minimum(fates.stray, horizon) + DUE_S
    hung = spoke & waits & ~reset & (moved.last >= horizon)
    hanging, served = hanging_of(moved, fates, horizon)
    inevitable = moved.loss <= moved.era
    for name, mask in {
        "moved": np.ones(len(moved), bool),
        "inevitable": inevitable,
        "spoke": spoke,
        "reset": reset,
        "hung": hung,
        "hung_returned": hung & fates.home,
        "hanging": hanging,
        "hanging_closed": hanging & ~reset & ~fates.home & (moved.last < horizon),
        "half_open": held,
        "half_open_left": left,
        "half_open_returned": left & fates.home,
        "half_open_unreachable": fates.unreachable,
        "silent": ~spoke & ~reset & ~fates.home & (moved.last >= horizon),
    }.items():
        tally.count(name, mask.sum())
    tally.in_eras("moved", moved.era)
    tally.in_eras("inevitable", moved.era[inevitable])
    broken = reset | ((hung | hanging) & ~fates.home)
    _count_broken(tally, moved, fates, broken)
    tally.happen("moved", routes.begins(moved.era))
    tally.happen("strays", fates.stray[spoke])
    if computation.conduct.freed_after_s is not None:
        _count_copies(tally, moved, fates, spoke)
    tally.last("hanging", fates.stray[hanging], served[hanging])
    since, to = fates.held_from[held], fates.held_to[held]
    tally.last("half_open", since, to)
    tally.lasted("half_open", np.minimum(to, horizon) - since)
    told = reset & spoke
    tally.lasted("reset", fates.reset[told] - fates.stray[told])
    _count_locks(tally, moved, fates, held, horizon)
    for begin, end in fates.detours:
        tally.count("detours", len(begin))
        tally.last("detours", begin, end)


def _count_broken(tally: Tally, moved: Moved, fates: Fates, broken: Mask) -> None:
    """When connections broke, and by which change."""
    spoke = fates.stray < moved.horizon_s
    cause = np.where(spoke, fates.stray_era, moved.era)
    tally.in_eras("broken", cause[broken])
    tally.in_eras("broken_avoidable", cause[broken & (moved.loss > cause)])
    tally.happen("broken", np.minimum(fates.reset, fates.stray)[broken])


def hanging_of(moved: Moved, fates: Fates, horizon: float) -> tuple[Mask, Times]:
    """Whose clients wait for an answer that does not come, also those that close while
    they wait; and until when: to their reset, their end, or until the owner is back."""
    death = moved.flows.death[moved.index]
    until = np.minimum(np.minimum(fates.reset, death), fates.home_at)
    waits = until > np.minimum(fates.stray, horizon) + DUE_S
    return (fates.stray < horizon) & waits, until


def _count_copies(tally: Tally, moved: Moved, fates: Fates, spoke: Mask) -> None:
    """Fan-outs and their copies: how many, when, and on which links."""
    at, era = fates.stray[spoke], fates.stray_era[spoke]
    tier1, tier2 = fates.tier1[spoke], fates.tier2[spoke]
    tally.happen("fan_outs", at)
    told = spoke & fates.told
    locks = moved.flows.locks[moved.index[told]].astype(np.float64)
    tally.happen("freed_by_copy", fates.stray[told])
    tally.happen("unlocked_by_copy", fates.stray[told], locks)
    tally.happen("waits_ended_by_copy", fates.stray[told][locks > 0])
    tally.count("tier1_copies", tier1.sum())
    tally.count("tier2_copies", tier2.sum())
    tally.happen("copies", at, (tier1 + tier2).astype(np.float64))
    soon = at - moved.routes.begins(np.maximum(era, 1)) < 1.0
    tally.in_eras("soon", era[soon])


def _count_locks(
    tally: Tally,
    moved: Moved,
    fates: Fates,
    held: Mask,
    horizon: float,
) -> None:
    """Locks that nobody's connections hold, and how long clients wait for their own."""
    locks = moved.flows.locks[moved.index].astype(np.float64)
    # The client's end has gone, the owner's has not.
    begin = np.maximum(fates.held_from, fates.reset)
    kept = held & (begin < fates.held_to) & (begin < horizon)
    tally.load("kept", moved.owner[kept], begin[kept], fates.held_to[kept])
    orphans = kept & (locks > 0)
    if orphans.any():
        at = begin[orphans], fates.held_to[orphans]
        tally.last("locks_of_nobody", *at, locks[orphans])
        tally.lasted("own_lock", np.minimum(at[1], horizon) - at[0])
        tally.count("locks_left", locks[orphans & (fates.held_to >= horizon)].sum())
        tally.count("clients_without_their_lock", orphans.sum())
