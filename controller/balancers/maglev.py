"""Maglev hashing: an even table of prime size that the members fill in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topologies.domain.balancer import Balancer
from topologies.domain.hash64 import hash64

#: Prime, so that every skip visits the whole table. Much larger than the number of
#: members: the larger the table, the fewer buckets of other members a change moves.
BUCKETS = 1021


def table(members: Sequence[str]) -> tuple[str, ...]:
    """Shares differ by at most one bucket; a change moves few buckets unnecessarily.

    Section 3.4 of Eisenbud and others, "Maglev: A fast and reliable software network
    load balancer" (NSDI 2016), with two hashes of the member's name of our own.
    """
    if not members:
        return ()
    order = [permutation(*offset_and_skip(name), BUCKETS) for name in members]
    return tuple(members[index] for index in populate(order, BUCKETS))


def offset_and_skip(name: str) -> tuple[int, int]:
    """Start and step of the member's permutation."""
    offset = hash64("maglev offset", name) % BUCKETS
    return offset, hash64("maglev skip", name) % (BUCKETS - 1) + 1


def permutation(offset: int, skip: int, size: int) -> Iterator[int]:
    """Every bucket once, in the member's order of preference; ``size`` is prime.

    >>> list(permutation(3, 4, 7))
    [3, 0, 4, 1, 5, 2, 6]
    """
    return ((offset + turn * skip) % size for turn in range(size))


def populate(preferences: Sequence[Iterator[int]], size: int) -> list[int]:
    """The index of each bucket's member. In turns, each member takes its next free bucket.

    >>> populate([permutation(3, 4, 7), permutation(0, 2, 7), permutation(3, 1, 7)], 7)
    [1, 0, 1, 0, 2, 2, 0]
    """
    owners = [-1] * size
    for taken in range(size):
        index = taken % len(preferences)
        bucket = next(b for b in preferences[index] if owners[b] < 0)
        owners[bucket] = index
    return owners


MAGLEV = Balancer(
    name="maglev",
    summary=f"the even table of Maglev, {BUCKETS} buckets; a change moves little more "
    "than the minimum",
    table=table,
)
