"""Highest random weight: a change of members moves no more flows than it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import log

from topologies.domain.balancer import Balancer
from topologies.domain.weight import WEIGHTS, weight

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


def weighted_table(capacities: Mapping[str, float]) -> tuple[str, ...]:
    """As :func:`table`, each member's share in proportion to its capacity.

    A bucket belongs to the member of the least ``-ln(u) / capacity``, where ``u`` is
    its weight scaled to (0, 1): the first arrival of independent Poisson processes,
    which is a member's with probability capacity / sum of capacities (Schindelhauer
    and Schomaker, "Weighted distributed hash tables", 2005). A change of one member's
    capacity moves buckets only to it or only from it; capacity 0 gets none. Raises
    :class:`ValueError` for a capacity that is negative or not finite.

    >>> shares = weighted_table({"c1": 1, "c2": 3, "c3": 0})
    >>> [shares.count(name) for name in ("c1", "c2", "c3")]
    [57, 199, 0]
    """
    for member, capacity in capacities.items():
        if not 0 <= capacity < float("inf"):
            raise ValueError(f"{member}: capacity {capacity} is not from 0 to infinity")
    scores = [
        (_arrivals(member), capacity, member)
        for member, capacity in capacities.items()
        if capacity
    ]
    if not scores:
        return ()
    return tuple(
        min((arrivals[b] / capacity, member) for arrivals, capacity, member in scores)[
            1
        ]
        for b in range(BUCKETS)
    )


@cache
def _weights(member: str) -> tuple[int, ...]:
    """The member's weight for every bucket."""
    return tuple(weight(bucket, member) for bucket in range(BUCKETS))


@cache
def _arrivals(member: str) -> tuple[float, ...]:
    """When the member would claim each bucket if its capacity were 1: exponential."""
    return tuple(-log((each + 0.5) / WEIGHTS) for each in _weights(member))


RENDEZVOUS = Balancer(
    name="rendezvous",
    summary="highest random weight over 256 buckets; a change moves the fewest",
    table=table,
    weighted=weighted_table,
)
