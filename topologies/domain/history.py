"""What is remembered of earlier bucket tables, switch by switch and bucket by bucket; pure.

An event changes the tables of some switches, and some buckets of these. What it does not
touch must not age: a policy that asks for a bucket's earlier member gets the member that
this bucket had, however many events there were elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from topologies.domain.arrangement import Arrangement
from topologies.domain.balancer import Balancer
from topologies.domain.buckets import BucketTable
from topologies.domain.plan import FABRIC

#: A switch's bucket tables: the current one, then earlier ones, latest first. Empty for a
#: state in which the switch did not exist.
Tables = tuple[BucketTable, ...]

#: The number of earlier members of a bucket that policies may ask for. More changes of one
#: bucket between two segments of a connection are unlikely.
MAX_HISTORY = 4
#: The number of earlier tables that are kept for each switch, to find these members in.
KEPT_TABLES = 16


def switch_tables(
    arrangements: Iterable[Arrangement], switch: str, balancer: Balancer
) -> Tables:
    """The different tables of that switch, one after the other; latest first, as
    ``arrangements`` are."""
    tables = (arrangement.table(switch, balancer) for arrangement in arrangements)
    return tuple(table for table, _ in groupby(tables))


def kept(
    arrangements: Sequence[Arrangement], balancer: Balancer
) -> tuple[Arrangement, ...]:
    """The arrangements, latest first, that some switch's last KEPT_TABLES tables need.

    The first one is kept in any case.
    """
    switches = (FABRIC, *(chassis.name for chassis in arrangements[0].plan.chassis))
    latest = {switch: arrangements[0].table(switch, balancer) for switch in switches}
    count = dict.fromkeys(switches, 0)
    found = [arrangements[0]]
    for arrangement in arrangements[1:]:
        needed = False
        for switch in switches:
            table = arrangement.table(switch, balancer)
            if table != latest[switch] and count[switch] < KEPT_TABLES:
                latest[switch], needed = table, True
                count[switch] += 1
        if needed:
            found.append(arrangement)
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
