"""Which node each connection is sent to, in every era of a cluster; over arrays.

Both tiers work alike: a switch has a bucket table from some era on. Tables with the same
basis and number of buckets, one after the other, are one *run*, and a bucket's member is a
step function over it. A run of another shape has other buckets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.model.durations import Times
from experiments.model.membership_changes import Changes
from experiments.model.step_functions import Index, StepFunctions
from experiments.model.tuple_hash import Hashes
from topologies.domain.buckets import BucketTable
from topologies.domain.history import KEPT_TABLES, MAX_HISTORY
from topologies.domain.plan import FABRIC

Mask = npt.NDArray[np.bool_]
Pair = tuple[Index, Index]
#: Instead of a member, where a switch has none.
NOBODY = -1


class Turns(NamedTuple):
    """Of some connections at one switch each: the member that they are sent to, the era
    until which this is certain, and where it stands: run, bucket and step."""

    member: Index
    until: Index
    run: Index
    bucket: Index
    step: Index

    def taken(self, index: Index) -> Turns:
        """Those at ``index``."""
        return Turns(*(each[index] for each in self))


class Way(NamedTuple):
    """Of some connections: the node that they are sent to, the era until which this is
    certain, the chassis, and what is behind it at both tiers."""

    node: Index
    until: Index
    chassis: Index
    fabric: Turns
    within: Turns

    def taken(self, index: Index) -> Way:
        """Those at ``index``."""
        node, until, chassis, fabric, within = self
        both = fabric.taken(index), within.taken(index)
        return Way(node[index], until[index], chassis[index], *both)


class Routes:
    """The ways of connections through a cluster's course.

    Nodes and chassis are numbers: positions in ``nodes`` and ``chassis``. Switches too:
    the fabric is 0, a chassis one more than its own number.
    """

    def __init__(self, changes: Changes) -> None:
        self.chassis = list(changes.chassis)
        self.nodes = [name for nodes in changes.chassis.values() for name in nodes]
        self.times = np.array([*changes.times, np.inf])
        self.eras = len(changes.changes) + 1
        self.chassis_of = np.repeat(
            np.arange(len(self.chassis)), [len(n) for n in changes.chassis.values()]
        )
        self._numbers = {name: i for i, name in enumerate(self.nodes)}
        of_chassis = {name: i for i, name in enumerate(self.chassis)}
        self._build(_tables_of(changes), of_chassis)
        self.power = self._states(changes, "powered")
        self.reach = self._states(changes, "reachable")
        self._depths: dict[int, int] = {}

    def era_of(self, times: Times) -> Index:
        """The era at each time; at the time of a change it has happened."""
        found: Index = np.searchsorted(self.times[:-1], times, side="right")
        return found

    def begins(self, eras: Index) -> Times:
        """When each era from 1 on begins; infinite for the one after the last."""
        found: Times = self.times[eras - 1]
        return found

    def way(self, hashes: Hashes, index: Index | None, eras: Index) -> Way:
        """The ways of the connections at ``index`` (None: all), each at its era."""
        fabric = self.turns(hashes, index, np.zeros(len(eras), np.int64), eras)
        chassis = fabric.member
        if chassis.min(initial=0) < 0:
            raise ValueError("no node is in service at some time: nobody to connect to")
        within = self.turns(hashes, index, chassis + 1, eras)
        until = np.minimum(fabric.until, within.until)
        return Way(within.member, until, chassis, fabric, within)

    def turns(
        self, hashes: Hashes, index: Index | None, switches: Index, eras: Index
    ) -> Turns:
        """The members at one switch each."""
        if self._one_run_each:
            run = switches
        else:
            run = self._runs.values[self._runs.at(switches, eras)]
        hashed = hashes.each(index, self._basis[run])
        bucket = self._offset[run] + (hashed % self._size[run])
        step = self._buckets.at(bucket, eras)
        return Turns(
            self._buckets.values[step],
            np.minimum(self._buckets.until[step], self._until[run]),
            run,
            bucket,
            step,
        )

    def departures(
        self, hashes: Hashes, index: Index, owner: Index, until: Index, last: Times
    ) -> Index:
        """The era in which each connection is first sent elsewhere than to its owner, if
        that begins before ``last``; ``eras`` if not. It goes there until ``until``."""
        found = np.full(len(index), self.eras)
        until = until.copy()
        pending = np.arange(len(index))
        while True:
            pending = pending[self.begins(until[pending]) < last[pending]]
            if not len(pending):
                return found
            way = self.way(hashes, index[pending], until[pending])
            left = way.node != owner[pending]
            gone = pending[left]
            found[gone] = until[gone]
            pending = pending[~left]
            until[pending] = way.until[~left]

    def remembers(self, then: Turns, now: Turns, switches: Index, eras: Pair) -> Mask:
        """Whether a switch that remembers earlier tables still finds the member that it
        sent a connection to ``then``.

        ``eras``: of then and of now. Of each bucket MAX_HISTORY earlier members are kept, so many changes
        of shape, and of each switch KEPT_TABLES earlier tables.
        """
        same = then.run == now.run
        last = np.where(same, now.step, self._buckets.at(then.bucket, self._end(then)))
        known = last - then.step <= MAX_HISTORY
        known &= now.run - then.run <= MAX_HISTORY
        before, after = (self.version(switches, era) for era in eras)
        known &= after - before <= KEPT_TABLES
        return known

    def reached(self, nodes: Index, eras: Index) -> Mask:
        """Whether packets reach these nodes in these eras."""
        nodes, eras = np.broadcast_arrays(nodes, eras)
        flat = self.reach.at(nodes.ravel(), eras.ravel())
        found: Mask = (self.reach.values[flat] > 0).reshape(nodes.shape)
        return found

    @cached_property
    def reached_nodes(self) -> Index:
        """Era by era: how many nodes packets reach."""
        changes = np.zeros(self.eras, np.int64)
        first = self.reach.since == 0
        signs = np.where(self.reach.values > 0, 1, np.where(first, 0, -1))
        np.add.at(changes, self.reach.since, signs)
        return np.cumsum(changes)

    @cached_property
    def reached_chassis(self) -> Mask:
        """Era (row) and chassis (column): whether packets reach a node of it."""
        changes = np.zeros((self.eras, len(self.chassis)), np.int64)
        first = self.reach.since == 0
        signs = np.where(self.reach.values > 0, 1, np.where(first, 0, -1))
        node = np.repeat(
            np.arange(len(self.nodes)),
            np.diff([*self.reach.first, len(self.reach.since)]),
        )
        np.add.at(changes, (self.reach.since, self.chassis_of[node]), signs)
        reached: Mask = np.cumsum(changes, axis=0) > 0
        return reached

    def serving(self, era: int) -> Mask:
        """Whether each node is balanced over in that era."""
        switches = np.arange(len(self.chassis) + 1)
        runs = self._runs.values[self._runs.at(switches, np.full(len(switches), era))]
        members = []
        for run in runs:
            buckets = self._offset[run] + np.arange(self._size[run])
            steps = self._buckets.at(buckets, np.full(len(buckets), era))
            members.append(np.unique(self._buckets.values[steps]))
        found = np.zeros(len(self.nodes), bool)
        for chassis in members[0][members[0] >= 0]:
            found[members[chassis + 1]] = True
        return found

    def version(self, switches: Index, eras: Index) -> Index:
        """Which of its tables each switch has: 0 is the first."""
        found: Index = self._versions.values[self._versions.at(switches, eras)]
        return found

    def table_began(self, switches: Index, eras: Index) -> Index:
        """Since which era each switch has its table of that era."""
        found: Index = self._versions.since[self._versions.at(switches, eras)]
        return found

    def run_until(self, runs: Index) -> Index:
        """The era with which each run is over."""
        return self._until[runs]

    def buckets_of(self, switch: int, era: int) -> tuple[int, int]:
        """The first bucket that a switch has in that era, and how many."""
        run = self._runs.values[self._runs.at(np.array([switch]), np.array([era]))][0]
        return int(self._offset[run]), int(self._size[run])

    def run_began(self, runs: Index) -> Index:
        """The first era of each run."""
        return self._began[runs]

    def depth(self, runs: Index, eras: Index) -> Index:
        """How often the bucket of each run that changed most has done so by that era."""
        pairs = runs * (self.eras + 1) + eras
        distinct, places = np.unique(pairs, return_inverse=True)
        found = np.zeros(len(distinct), np.int64)
        for place, pair in enumerate(distinct.tolist()):
            if pair not in self._depths:
                run, era = divmod(pair, self.eras + 1)
                buckets = self._offset[run] + np.arange(self._size[run])
                steps = self._buckets.at(buckets, np.full(len(buckets), era))
                deepest = (steps - self._buckets.first[buckets]).max()
                self._depths[pair] = int(deepest)
            found[place] = self._depths[pair]
        return found[places]

    def has_step_before(self, buckets: Index, steps: Index) -> Mask:
        """Whether a bucket had another member before that step."""
        return steps > self._buckets.first[buckets]

    def step_member(self, steps: Index) -> Index:
        """The member of each step."""
        found: Index = self._buckets.values[steps]
        return found

    def step_began(self, steps: Index) -> Index:
        """The era with which each step begins."""
        found: Index = self._buckets.since[steps]
        return found

    def _end(self, turns: Turns) -> Index:
        """The last era of each one's run."""
        return self._until[turns.run] - 1

    def _build(
        self, tables: Sequence[Sequence[_Dated]], of_chassis: dict[str, int]
    ) -> None:
        """The runs of every switch, and the steps of every bucket."""
        basis: list[int] = []
        size: list[int] = []
        offset: list[int] = []
        until: list[int] = []
        run_steps: list[tuple[int, int, int]] = []
        bucket_steps: list[tuple[Index, Index, Index]] = []
        total = 0
        for switch, dated in enumerate(tables):
            numbers = self._numbers if switch else of_chassis
            for run in _runs(dated):
                first = run[0].table
                run_steps.append((switch, run[0].era, len(basis)))
                basis.append(first.basis)
                size.append(max(1, len(first)))
                offset.append(total)
                bucket_steps += _steps(run, total, numbers)
                total += size[-1]
                until.append(self.eras)
        for (one, _, run_number), (other, era, _) in zip(
            run_steps, run_steps[1:], strict=False
        ):
            if one == other:
                until[run_number] = era
        self._basis = np.array(basis, np.int32)
        self._size = np.array(size, np.uint32)
        self._offset = np.array(offset, np.int64)
        self._until = np.array(until, np.int64)
        self._began = np.array([era for _, era, _ in run_steps], np.int64)
        switch_ids, since, numbers_of = np.array(run_steps, np.int64).T
        self._runs = StepFunctions(
            len(tables), self.eras, (switch_ids, since, numbers_of)
        )
        ids, eras, values = (
            np.concatenate(each) for each in zip(*bucket_steps, strict=True)
        )
        self._buckets = StepFunctions(total, self.eras, (ids, eras, values))
        self._one_run_each = len(basis) == len(tables)
        versions = [
            (switch, each.era, number)
            for switch, dated in enumerate(tables)
            for number, each in enumerate(dated)
        ]
        ids, eras, values = np.array(versions, np.int64).T
        self._versions = StepFunctions(len(tables), self.eras, (ids, eras, values))

    def _states(self, changes: Changes, what: str) -> StepFunctions:
        """Of every node: 1 while it has power, or is reachable; 0 else."""
        entries = []
        known = set()
        for era, change in enumerate(changes.changes, start=1):
            for name, value in getattr(change, what).items():
                node = self._numbers[name]
                if node not in known:
                    known.add(node)
                    # What is first reported as true was not there before.
                    entries.append((node, 0, int(not value)))
                entries.append((node, era, int(value)))
        entries += [(n, 0, 1) for n in range(len(self.nodes)) if n not in known]
        ids, eras, values = np.array(entries, np.int64).T
        return StepFunctions(len(self.nodes), self.eras, (ids, eras, values))


class _Dated(NamedTuple):
    era: int
    table: BucketTable


def _tables_of(changes: Changes) -> list[list[_Dated]]:
    """The tables of each switch, the fabric first; at least one of each."""
    found: dict[str, list[_Dated]] = defaultdict(list)
    for name, table in changes.start.items():
        found[name].append(_Dated(0, table))
    for era, change in enumerate(changes.changes, start=1):
        for name, table in change.tables.items():
            if name not in found:
                found[name].append(_Dated(0, BucketTable(table.basis)))
            found[name].append(_Dated(era, table))
    return [found[name] for name in (FABRIC, *changes.chassis)]


def _runs(dated: Sequence[_Dated]) -> list[list[_Dated]]:
    """The tables, split where the basis or the number of buckets changes."""
    runs = [[dated[0]]]
    for one in dated[1:]:
        before = runs[-1][-1].table
        same = one.table.basis == before.basis and len(one.table) == len(before)
        if same:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _steps(
    run: Sequence[_Dated], offset: int, numbers: dict[str, int]
) -> list[tuple[Index, Index, Index]]:
    """Bucket, era and member of each step in the tables of one run."""
    found = []
    before = None
    for era, table in run:
        members = np.array([numbers[name] for name in table] or [NOBODY], np.int64)
        places = (
            np.arange(len(members))
            if before is None
            else (members != before).nonzero()[0]
        )
        found.append((offset + places, np.full(len(places), era), members[places]))
        before = members
    return found
