"""Highest random weight: a change of members moves no more flows than it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import log

from topologies.domain.balancer import Balancer
from topologies.domain.hash64 import HASH_VALUES, hash64

#: Fixed, so that a bucket means the same connections whoever the members are. At 15
#: members a share is 17 buckets, give or take 4.
BUCKETS = 256


def table(members: Sequence[str]) -> tuple[str, ...]:
    """Each bucket belongs to the member of the highest weight for it.

    A member's weight does not depend on the others, so one that leaves gives up its
    own buckets only, and one that enters takes buckets only for itself (Thaler and
    Ravishankar, "Using name-based mappings to increase hit rates", 1998).

    >>> before, after = table(["c1n1", "c1n2", "c1n3"]), table(["c1n1", "c1n3"])
    >>> {b for b, a in zip(before, after) if b != a}
    {'c1n2'}
    """
    if not members:
        return ()
    weights = [(_weights(member), member) for member in members]
    return tuple(
        max((of_bucket[bucket], member) for of_bucket, member in weights)[1]
        for bucket in range(BUCKETS)
    )


def weighted_table(weights: Mapping[str, float]) -> tuple[str, ...]:
    """As :func:`table`, each member's share in proportion to its weight.

    A bucket belongs to the member of the least ``-ln(u) / weight``, where ``u`` is
    its weight scaled to (0, 1): the first arrival of independent Poisson processes,
    which is a member's with probability weight / sum of weights (Schindelhauer
    and Schomaker, "Weighted distributed hash tables", 2005). A change of one member's
    weight moves buckets only to it or only from it; weight 0 gets none. Raises
    :class:`ValueError` for a weight that is negative or not finite.

    >>> shares = weighted_table({"c1": 1, "c2": 3, "c3": 0})
    >>> [shares.count(name) for name in ("c1", "c2", "c3")]
    [57, 199, 0]
    """
    for member, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{member}: weight {weight} is not from 0 to infinity")
    scores = [
        (_exponential_scores(member), weight, member)
        for member, weight in weights.items()
        if weight
    ]
    if not scores:
        return ()
    return tuple(
        min((arrivals[b] / weight, member) for arrivals, weight, member in scores)[1]
        for b in range(BUCKETS)
    )


@cache
def _weights(member: str) -> tuple[int, ...]:
    """The member's weight for every bucket."""
    return tuple(hash64(bucket, member) for bucket in range(BUCKETS))


@cache
def _exponential_scores(member: str) -> tuple[float, ...]:
    """When the member would claim each bucket if its weight were 1: exponential."""
    return tuple(-log((each + 0.5) / HASH_VALUES) for each in _weights(member))


RENDEZVOUS = Balancer(
    name="rendezvous",
    summary="highest random weight over 256 buckets; a change moves the fewest",
    table=table,
    weighted=weighted_table,
)
