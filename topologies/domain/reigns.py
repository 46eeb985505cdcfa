"""Who had a bucket, and when: what lets two switches ask the same time of the past; pure.

A table's reign is the time in which it was in force. A bucket's member holds it for a turn:
one or more reigns, one after the other, of tables of one shape (basis and number of
buckets). At a reign of another shape every turn ends, since a connection is then in
another bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from topologies.domain.buckets import BucketTable
from topologies.domain.history import MAX_HISTORY, Timeline

#: Bits of a time in a frame.
TIME_BITS = 16

#: Basis and number of buckets: where these are equal, a connection is in the same bucket.
Shape = tuple[int, int]


class Reign(NamedTuple):
    """A table that was in force from ``since`` until just before ``until``; None: it is.

    The table is not empty. ``since`` 0: it is the earliest that is known.
    """

    since: int
    until: int | None
    table: BucketTable

    @property
    def shape(self) -> Shape:
        """Of the table."""
        return self.table.basis, len(self.table)


class Turn(NamedTuple):
    """A member had a bucket in the reigns of these numbers; ``last`` None: it still has.

    ``since``: when it got the bucket; 0 if nothing earlier is known.
    """

    shape: Shape
    bucket: int
    member: str
    first: int
    last: int | None
    since: int


def reigns_of(past: Timeline) -> tuple[Reign, ...]:
    """The reigns that are remembered, earliest first; a reign's number is its position.

    They have at most MAX_HISTORY changes of shape. An empty table does not reign. The
    reign before it has ended, and nobody has the buckets.
    """
    found: list[Reign] = []
    until: int | None = None
    shapes = 0
    for since, table in past:
        if table:
            shape = table.basis, len(table)
            shapes += not found or found[-1].shape != shape
            if shapes > MAX_HISTORY + 1:
                break
            found.append(Reign(since, until, table))
        until = since
    if found:
        found[-1] = found[-1]._replace(since=0)
    return tuple(reversed(found))


def turns_of(reigns: Sequence[Reign]) -> Iterator[Turn]:
    """Every turn of every bucket. Those in the last of ``reigns`` count as lasting.

    At most MAX_HISTORY + 1 for each bucket of tables of one shape, one after the other:
    the earliest of these counts as begun with the shape.
    """
    numbered = enumerate(reigns)
    for shape, run in groupby(numbered, key=lambda pair: pair[1].shape):
        members = list(run)
        for bucket in range(shape[1]):
            yield from _turns(shape, bucket, members, len(reigns) - 1)


def _turns(
    shape: Shape, bucket: int, run: Sequence[tuple[int, Reign]], newest: int
) -> Iterator[Turn]:
    """The turns of one bucket; ``newest``: the number of the reign that lasts."""
    turns: list[Turn] = []
    ended: int | None = None
    for number, reign in run:
        member = reign.table.members[bucket]
        if turns and turns[-1].member == member and ended == reign.since:
            turns[-1] = turns[-1]._replace(last=number)
        else:
            turns.append(Turn(shape, bucket, member, number, number, reign.since))
        ended = reign.until
    kept = turns[-MAX_HISTORY - 1 :]
    first, since = turns[0].first, turns[0].since
    kept[0] = kept[0]._replace(first=first, since=since)
    for turn in kept:
        yield turn._replace(last=None) if turn.last == newest else turn


def prefixes(low: int, high: int) -> Iterator[tuple[int, int]]:
    """``(value, mask)`` pairs that match exactly the times from ``low`` to ``high``.

    >>> [f"{value:#x}/{mask:#x}" for value, mask in prefixes(3, 8)]
    ['0x3/0xffff', '0x4/0xfffc', '0x8/0xffff']
    """
    everything = (1 << TIME_BITS) - 1
    while low <= high:
        size = low & -low or 1 << TIME_BITS
        while low + size - 1 > high:
            size >>= 1
        yield low, everything & ~(size - 1)
        low += size
