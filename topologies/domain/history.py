"""What is remembered of earlier bucket tables, switch by switch and bucket by bucket; pure.

An event changes the tables of some switches, and some buckets of these. What it does not
touch must not age: a policy that asks for a bucket's earlier member gets the member that
this bucket had, however many events there were elsewhere.

Times are numbers of changes, the same for all switches, so that two switches can speak of
one time. A time never changes after the fact: what an event does not touch keeps its times
too. Only a clock that has reached :data:`LATEST` starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from topologies.domain.arrangement import Arrangement
from topologies.domain.balancer import Balancer
from topologies.domain.buckets import BucketTable
from topologies.domain.plan import FABRIC


class Dated(NamedTuple):
    """A bucket table, and the time since when it is in force.

    0: it is the earliest that is known.
    """

    since: int
    table: BucketTable


#: A switch's bucket tables with their times, latest first, none equal to its neighbour.
Timeline = tuple[Dated, ...]
#: A switch's bucket tables: the current one, then earlier ones, latest first. Empty for a
#: state in which the switch did not exist.
Tables = tuple[BucketTable, ...]

#: The number of earlier members of a bucket that policies may ask for. More changes of one
#: bucket between two segments of a connection are unlikely.
MAX_HISTORY = 4
#: The number of earlier tables that are kept for each switch, to find these members in.
KEPT_TABLES = 16
#: The latest time. A time has 16 bits in a frame; two of their values are no times
#: (:mod:`controller.policies.second_chance`).
LATEST = 0xFFFE


def timeline(
    arrangements: Sequence[Arrangement],
    ended: Sequence[int],
    switch: str,
    balancer: Balancer,
) -> Timeline:
    """The last tables of that switch, at most KEPT_TABLES before the current one.

    ``arrangements``: latest first; ``ended``: when each of them but the first ended.
    """
    tables = [arrangement.table(switch, balancer) for arrangement in arrangements]
    found, position = [], 0
    for table, run in groupby(tables):
        position += len(list(run))
        since = ended[position - 1] if position < len(tables) else 0
        found.append(Dated(since, table))
    *later, earliest = found[: KEPT_TABLES + 1]
    return (*later, Dated(0, earliest.table))


def next_times(ended: Sequence[int]) -> tuple[int, ...]:
    """When the present arrangement ends, which is now, and when the earlier ones did.

    ``ended``: the times of the earlier ones, latest first. Beyond :data:`LATEST` all get
    new times, in the same order.

    >>> next_times((7, 3)), next_times(()), next_times((LATEST, 3))
    ((8, 7, 3), (1,), (3, 2, 1))
    """
    now = ended[0] + 1 if ended else 1
    return (now, *ended) if now <= LATEST else ranks(len(ended) + 1)


def ranks(number: int) -> tuple[int, ...]:
    """That many times, latest first, the earliest 1."""
    return tuple(range(number, 0, -1))


def tables_of(of: Timeline) -> Tables:
    """The tables alone."""
    return tuple(dated.table for dated in of)


def needed(arrangements: Sequence[Arrangement], balancer: Balancer) -> tuple[int, ...]:
    """Which of the arrangements, latest first, some switch's last KEPT_TABLES tables need.

    Positions, ascending. The first one is needed in any case. Of those in which a switch
    had the same table, the latest is taken: it ended when the table did.
    """
    switches = (FABRIC, *(chassis.name for chassis in arrangements[0].plan.chassis))
    latest = {switch: arrangements[0].table(switch, balancer) for switch in switches}
    count = dict.fromkeys(switches, 0)
    found = [0]
    for position, arrangement in enumerate(arrangements[1:], start=1):
        changed = False
        for switch in switches:
            table = arrangement.table(switch, balancer)
            if table != latest[switch] and count[switch] < KEPT_TABLES:
                latest[switch], changed = table, True
                count[switch] += 1
        if changed:
            found.append(position)
    return tuple(found)


def by_bucket(tables: Tables, earlier: int) -> Tables:
    """The current table, and at most ``earlier`` tables of earlier members.

    ``tables``: latest first, none equal to its neighbour. While tables have the same basis
    and number of buckets, the ``k``-th result holds each bucket's ``k``-th earlier member,
    or its earliest one that is known. A table of another shape has other buckets: it, and
    those before it, follow as they are.

    >>> one = BucketTable(1, ("a", "b"))
    >>> two, three = BucketTable(1, ("c", "b")), BucketTable(1, ("c", "d"))
    >>> [table.members for table in by_bucket((three, two, one), 2)]
    [('c', 'd'), ('a', 'b')]
    """
    current = tables[0]
    shape = current.basis, len(current)
    same = [t for t, _ in zip(tables, _while_shaped(tables, shape), strict=False)]
    columns = [
        [member for member, _ in groupby(column)]
        for column in zip(*(table.members for table in same), strict=True)
    ]
    levels = max((len(column) for column in columns), default=1)
    composed = (
        BucketTable(
            current.basis,
            tuple(column[min(level, len(column) - 1)] for column in columns),
        )
        for level in range(1, levels)
    )
    return (current, *(*composed, *tables[len(same) :])[:earlier])


def _while_shaped(tables: Tables, shape: tuple[int, int]) -> list[BucketTable]:
    same = []
    for table in tables:
        if (table.basis, len(table)) != shape:
            break
        same.append(table)
    return same
