"""Which connections switches pin that pin no more than may move: those in danger (JET).

In danger is a bucket that a joining member may take (:mod:`controller.pipeline.horizon`).
Each tier pins by itself. A connection is pinned by its first segment, if its bucket is in
danger then, or else by the first one after its bucket has come into danger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from controller.pipeline.horizon import pinned_buckets
from controller.policies.questions import Memory
from experiments.model.durations import Times
from experiments.model.flows import Flows
from experiments.model.membership_changes import Changes
from experiments.model.routes import Routes
from experiments.model.step_functions import Index, StepFunctions
from experiments.model.tuple_hash import Hashes
from topologies.domain.plan import FABRIC

#: Era, first bucket, and whether each bucket from there on is in danger.
_State = tuple[int, int, Index]


class Danger:
    """When each bucket is in danger, over a cluster's course."""

    def __init__(self, changes: Changes, routes: Routes) -> None:
        steps: list[tuple[Index, Index, Index]] = []
        for number, switch in enumerate((FABRIC, *changes.chassis)):
            before: tuple[int, Index] | None = None
            for era, first, now in _states(changes, routes, (number, switch)):
                if before is None or before[0] != first:
                    places = np.arange(len(now))
                else:
                    (places,) = (now != before[1]).nonzero()
                since = np.full(len(places), era)
                steps.append((first + places, since, now[places]))
                before = first, now
        ids, eras, values = (np.concatenate(each) for each in zip(*steps, strict=True))
        total = int(ids.max()) + 1
        self._buckets = StepFunctions(total, routes.eras, (ids, eras, values))

    def pinned(
        self, routes: Routes, flows: Flows, hashes: Hashes, switches: Index, born: Index
    ) -> Times:
        """When each connection is pinned at its switch; infinite: never. ``routes``: as
        given before; ``born``: the era that each begins in."""
        era = self._first(routes, hashes, switches, born)
        found = np.full(len(flows), np.inf)
        at_once = era == born
        found[at_once] = flows.birth[at_once]
        (later,) = ((era > born) & (era < routes.eras)).nonzero()
        found[later] = flows.speaks(later, routes.begins(era[later]))
        return found

    def _first(
        self, routes: Routes, hashes: Hashes, switches: Index, born: Index
    ) -> Index:
        """The first era from ``born`` on in which the bucket of each is in danger."""
        buckets = self._buckets
        found = np.full(len(born), routes.eras)
        era, pending = born.copy(), np.arange(len(born))
        while len(pending):
            now = era[pending]
            turns = routes.turns(hashes, pending, switches[pending], now)
            step = buckets.at(turns.bucket, now)
            danger = buckets.values[step] > 0
            found[pending[danger]] = now[danger]
            until = np.minimum(buckets.until[step], routes.run_until(turns.run))
            goes_on = ~danger & (until < routes.eras)
            era[pending] = until
            pending = pending[goes_on]
        return found


_FOUND: WeakKeyDictionary[Routes, Danger] = WeakKeyDictionary()


def danger_of(changes: Changes, routes: Routes) -> Danger:
    """The same for that course, computed once."""
    if routes not in _FOUND:
        _FOUND[routes] = Danger(changes, routes)
    return _FOUND[routes]


def _states(
    changes: Changes, routes: Routes, switch: tuple[int, str]
) -> Iterator[_State]:
    """What is in danger at one switch, whenever that may change."""
    number, name = switch
    table: Sequence[str] = tuple(changes.start.get(name, ()))
    joined: Sequence[str] = changes.joined.get(name, ())
    yield _state(routes, (number, 0), table, joined)
    for era, change in enumerate(changes.changes, start=1):
        tables: Mapping[str, Sequence[str]] = {
            key: tuple(value) for key, value in change.tables.items() if key == name
        }
        if name in tables or name in change.joined:
            table = tables.get(name, table)
            joined = change.joined.get(name, joined)
            yield _state(routes, (number, era), table, joined)


def _state(
    routes: Routes, where: tuple[int, int], table: Sequence[str], joined: Sequence[str]
) -> _State:
    switch, era = where
    first, size = routes.buckets_of(switch, era)
    found = np.zeros(size, np.int64)
    if table:
        found[list(pinned_buckets(Memory.MOVABLE, table, joined))] = 1
    return era, first, found
