"""Maglev hashing: an even table of prime size that the members fill in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heapreplace

from topologies.domain.balancer import Balancer, Sizes
from topologies.domain.hash64 import hash64

#: Prime, so that every skip visits the whole table. Much larger than the number of
#: members: the larger the table, the fewer buckets of other members a change moves.
BUCKETS = 1021


def table(members: Sequence[str], buckets: int = BUCKETS) -> tuple[str, ...]:
    """Shares differ by at most one bucket; a change moves few buckets unnecessarily.

    Section 3.4 of Eisenbud and others, "Maglev: A fast and reliable software network
    load balancer" (NSDI 2016), with two hashes of the member's name of our own.
    """
    return weighted_table(dict.fromkeys(members, 1.0), buckets)


def weighted_table(
    weights: Mapping[str, float], buckets: int = BUCKETS
) -> tuple[str, ...]:
    """As :func:`table`, each member's share in proportion to its weight.

    A member with twice the weight has twice as many turns, evenly spread over time
    (:func:`turns`). So its share differs from the exact one by little more than a bucket
    at most. A member of weight 0 gets no buckets. Raises :class:`ValueError` for a weight
    that is negative or not finite.

    >>> shares = weighted_table({"c1": 1, "c2": 3, "c3": 0})
    >>> [shares.count(name) for name in ("c1", "c2", "c3")]
    [255, 766, 0]
    """
    for member, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{member}: weight {weight} is not from 0 to infinity")
    members = [member for member, weight in weights.items() if weight]
    if not members:
        return ()
    order = [permutation(*offset_and_skip(name, buckets), buckets) for name in members]
    shares = [weights[member] for member in members]
    return tuple(members[index] for index in populate(order, buckets, shares))


def offset_and_skip(name: str, buckets: int = BUCKETS) -> tuple[int, int]:
    """Start and step of the member's permutation."""
    offset = hash64("maglev offset", name) % buckets
    return offset, hash64("maglev skip", name) % (buckets - 1) + 1


def permutation(offset: int, skip: int, size: int) -> Iterator[int]:
    """Every bucket once, in the member's order of preference; ``size`` is prime.

    >>> list(permutation(3, 4, 7))
    [3, 0, 4, 1, 5, 2, 6]
    """
    return ((offset + turn * skip) % size for turn in range(size))


def populate(
    preferences: Sequence[Iterator[int]],
    size: int,
    weights: Sequence[float] | None = None,
) -> list[int]:
    """The index of each bucket's member. In turns, each member takes its next free bucket.

    ``weights``: above 0, one for each member; without them all are equal.

    >>> populate([permutation(3, 4, 7), permutation(0, 2, 7), permutation(3, 1, 7)], 7)
    [1, 0, 1, 0, 2, 2, 0]
    """
    owners = [-1] * size
    taking = turns(weights or [1.0] * len(preferences))
    for _ in range(size):
        index = next(taking)
        bucket = next(b for b in preferences[index] if owners[b] < 0)
        owners[bucket] = index
    return owners


def turns(weights: Sequence[float]) -> Iterator[int]:
    """Whose turn it is, without end: in proportion to the weights, and evenly spread.

    A member's turns come at the times 1/2w, 3/2w, 5/2w and so on. This is the order in
    which the method of Webster gives away seats (Balinski and Young, "Fair
    representation", 1982). With equal weights the members take turns in their order.

    >>> from itertools import islice
    >>> list(islice(turns([1, 1, 1]), 5)), list(islice(turns([1, 3]), 8))
    ([0, 1, 2, 0, 1], [1, 0, 1, 1, 1, 0, 1, 1])
    """
    queue = [(0.5 / weight, index, 0) for index, weight in enumerate(weights)]
    heapify(queue)
    while True:
        _, index, taken = queue[0]
        following = (taken + 1.5) / weights[index]
        heapreplace(queue, (following, index, taken + 1))
        yield index


MAGLEV = Balancer(
    name="maglev",
    summary=f"the even table of Maglev, {BUCKETS} buckets; a change moves little more "
    "than the minimum",
    table=table,
    weighted=weighted_table,
    sizes=Sizes(BUCKETS, least=251, prime=True),
)
