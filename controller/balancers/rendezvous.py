"""Highest random weight: a change of members moves the minimum of connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import log

from topologies.domain.balancer import Balancer, Sizes
from topologies.domain.hash64 import HASH_VALUES, hash64

#: Fixed, so that a bucket holds the same connections for any members. At 15 members a
#: share is 17 +- 4 buckets.
BUCKETS = 256


def table(members: Sequence[str], buckets: int = BUCKETS) -> tuple[str, ...]:
    """Each bucket belongs to the member with the highest weight for it.

    A member's weight does not depend on the others. So a member that leaves moves only
    its own buckets, and a member that joins moves only the buckets that it takes (Thaler
    and Ravishankar, "Using name-based mappings to increase hit rates", 1998).

    >>> before, after = table(["c1n1", "c1n2", "c1n3"]), table(["c1n1", "c1n3"])
    >>> {b for b, a in zip(before, after) if b != a}
    {'c1n2'}
    """
    if not members:
        return ()
    weights = [(_weights(member, buckets), member) for member in members]
    return tuple(
        max((of_bucket[bucket], member) for of_bucket, member in weights)[1]
        for bucket in range(buckets)
    )


def weighted_table(
    weights: Mapping[str, float], buckets: int = BUCKETS
) -> tuple[str, ...]:
    """As :func:`table`, each member's share in proportion to its weight.

    A bucket belongs to the member with the smallest ``-ln(u) / weight``, where ``u`` is
    the hash of bucket and member, scaled to (0, 1). This is the first arrival of
    independent Poisson processes: it is a given member's with probability weight / sum
    of weights (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005).
    A change of one member's weight moves buckets only to it or only from it. A member
    of weight 0 gets no buckets. Raises :class:`ValueError` for a weight that is negative
    or not finite.

    >>> shares = weighted_table({"c1": 1, "c2": 3, "c3": 0})
    >>> [shares.count(name) for name in ("c1", "c2", "c3")]
    [63, 193, 0]
    """
    for member, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{member}: weight {weight} is not from 0 to infinity")
    scores = [
        (_exponential_scores(member, buckets), weight, member)
        for member, weight in weights.items()
        if weight
    ]
    if not scores:
        return ()
    return tuple(
        min((arrivals[b] / weight, member) for arrivals, weight, member in scores)[1]
        for b in range(buckets)
    )


@cache
def _weights(member: str, buckets: int) -> tuple[int, ...]:
    """The member's random weight for every bucket."""
    return tuple(hash64(bucket, member) for bucket in range(buckets))


@cache
def _exponential_scores(member: str, buckets: int) -> tuple[float, ...]:
    """The member's score for each bucket at weight 1, exponentially distributed."""
    return tuple(-log((each + 0.5) / HASH_VALUES) for each in _weights(member, buckets))


RENDEZVOUS = Balancer(
    name="rendezvous",
    summary="highest random weight over 256 buckets; a change moves the minimum",
    table=table,
    weighted=weighted_table,
    sizes=Sizes(BUCKETS),
    consistent=True,
)
