"""To whom a reset goes that is told to a bucket's earlier owners only (``directed``).

Each tier knows its own tables. It looks the connection up in the present one, in its
bucket's earlier members, and in tables of another shape as they are:
:func:`topologies.domain.history.by_bucket`, connection by connection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.model.routes import NOBODY, Mask, Routes
from experiments.model.step_functions import Index
from experiments.model.tuple_hash import Hashes
from topologies.domain.history import KEPT_TABLES, MAX_HISTORY


class Told(NamedTuple):
    """Of some strays: whether their owner gets a copy, and how many there are."""

    owner: Mask
    tier1: Index
    tier2: Index


def earlier_owners(
    routes: Routes, hashes: Hashes, index: Index, owner: Index, eras: Index
) -> Told:
    """Who is told of the strays of the connections at ``index``, each in its era."""
    count = len(index)
    fabric = np.zeros(count, np.int64)
    chassis = members_back(routes, hashes, index, fabric, eras)
    chassis = _distinct(np.where(_reached_chassis(routes, chassis, eras), chassis, -1))
    told, tier2 = np.zeros(count, bool), np.zeros(count, np.int64)
    for column in chassis.T:
        (some,) = (column != NOBODY).nonzero()
        if not len(some):
            continue
        nodes = members_back(routes, hashes, index[some], column[some] + 1, eras[some])
        reached = routes.reached(np.maximum(nodes, 0), eras[some][:, None])
        nodes = _distinct(np.where(reached & (nodes != NOBODY), nodes, NOBODY))
        tier2[some] += (nodes != NOBODY).sum(axis=1)
        told[some] |= (nodes == owner[some][:, None]).any(axis=1)
    return Told(told, (chassis != NOBODY).sum(axis=1), tier2)


def members_back(
    routes: Routes, hashes: Hashes, index: Index, switches: Index, eras: Index
) -> Index:
    """The present member of each connection at its switch, and up to MAX_HISTORY earlier
    ones, a column each; NOBODY where there is none."""
    found = np.full((len(index), MAX_HISTORY + 1), NOBODY)
    now = routes.turns(hashes, index, switches, eras)
    found[:, 0] = now.member
    present = routes.version(switches, eras)
    # In the present run of tables: the bucket's members before.
    step, inside = now.step.copy(), np.arange(len(index))
    for column in range(1, MAX_HISTORY + 1):
        inside = inside[routes.has_step_before(now.bucket[inside], step[inside])]
        step[inside] -= 1
        found[inside, column] = routes.step_member(step[inside])
    # The tables before it, as they are. They come after as many tables as the bucket
    # of this run that has changed most needs.
    column_of = routes.depth(now.run, eras) + 1
    era, left = routes.run_began(now.run), np.arange(len(index))
    while True:
        left = left[column_of[left] <= MAX_HISTORY]
        era[left] = routes.table_began(switches[left], era[left]) - 1
        left = left[era[left] >= 0]
        age = present[left] - routes.version(switches[left], era[left])
        left = left[age <= KEPT_TABLES]
        if not len(left):
            return found
        before = routes.turns(hashes, index[left], switches[left], era[left])
        found[left, column_of[left]] = before.member
        column_of[left] += 1


def _reached_chassis(routes: Routes, chassis: Index, eras: Index) -> Mask:
    reached = routes.reached_chassis[eras[:, None], np.maximum(chassis, 0)]
    found: Mask = reached & (chassis != NOBODY)
    return found


def _distinct(rows: Index) -> Index:
    """Each row's members once; NOBODY instead of a repeated one."""
    ordered = np.sort(rows, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = NOBODY
    return ordered
