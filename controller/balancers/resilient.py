"""Resilient hashing: fixed buckets, even shares; only a lost member's buckets move.

A switch keeps its table and rewrites the lost member's buckets, so its table depends on
earlier events (Linux: resilient next-hop groups). Here the table is a function of the
members alone, as a stateless load balancer needs. Such a function never moves a bucket of
a member that stays only if each bucket has an order of preference over all possible
members, and belongs to the first one in service. The difficulty is to find orders that
give even shares.

The orders are built by adding *member numbers*, one by one. A member number is the number
at the end of the name. The plan never reuses it: ``c1n3`` is number 3 of its chassis,
``c2`` number 2 of the fabric. A new number takes the first place in as many buckets as its
share is, from the members that have most. In all other buckets it is placed evenly over
the later places. Nothing else is reordered. Therefore, after any events:

- with the members 1 to n in service, shares differ by at most one bucket;
- a member that leaves gives its buckets to the others, evenly, and moves no other bucket;
- a member that returns gets exactly its old buckets;
- a member that joins takes its share evenly from the others and moves no other bucket.

A switch would give a returning member *some* buckets, not its old ones. After several
losses a switch can distribute more evenly, because it knows what it moved before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from topologies.domain.balancer import Balancer, Sizes
from topologies.domain.hash64 import hash64

#: Fixed, and more than there can be members in a plan.
BUCKETS = 256
#: Member numbers, more than there can be in a plan.
_NUMBERS = 256

#: Member numbers in one bucket's order of preference.
Preference = tuple[int, ...]


def table(members: Sequence[str], buckets: int = BUCKETS) -> tuple[str, ...]:
    """Each bucket belongs to the first member in service in its order of preference.

    >>> before, after = table(["c1n1", "c1n2", "c1n3"]), table(["c1n1", "c1n3"])
    >>> [before.count(member) for member in ("c1n1", "c1n2", "c1n3")]
    [86, 85, 85]
    >>> {b for b, a in zip(before, after) if b != a}
    {'c1n2'}
    """
    if not members:
        return ()
    by_number: dict[int, list[str]] = defaultdict(list)
    for member in members:
        by_number[member_number(member)].append(member)
    return tuple(
        _preferred(bucket, next(by_number[s] for s in preference if s in by_number))
        for bucket, preference in enumerate(preferences(max(by_number), buckets))
    )


def member_number(member: str) -> int:
    """The number at the end of a member's name; 0 if the name has none.

    >>> member_number("c1n12"), member_number("c3"), member_number("spare")
    (12, 3, 0)
    """
    number = re.search(r"[0-9]*$", member)
    return int(number[0] or 0) % _NUMBERS if number else 0


@cache
def preferences(highest: int, buckets: int = BUCKETS) -> tuple[Preference, ...]:
    """Each bucket's order of the member numbers 0 to ``highest``.

    Without the highest number it is the order for ``highest - 1``. Number 0 is last in
    every bucket: no member of a plan has it.
    """
    if highest == 0:
        return ((0,),) * buckets
    before = preferences(highest - 1, buckets)
    first = _buckets_for_new_member(before, highest)
    later = sorted(set(range(buckets)) - first, key=lambda b: (before[b], b))
    places = dict.fromkeys(first, 0)
    places |= {b: rank % (highest - 1) + 1 for rank, b in enumerate(later)}
    return tuple(
        (*order[: places[b]], highest, *order[places[b] :])
        for b, order in enumerate(before)
    )


def _buckets_for_new_member(before: Sequence[Preference], highest: int) -> set[int]:
    """The buckets that a new member takes, each from the member that has most then.

    From one member it takes buckets whose next preferences differ most. If that member is
    lost too, its remaining buckets still spread over all others.
    """
    owned: dict[int, list[int]] = defaultdict(list)
    for bucket in sorted(range(len(before)), key=lambda b: (before[b], b)):
        owned[before[bucket][0]].append(bucket)
    left = {owner: len(buckets) for owner, buckets in owned.items()}
    for _ in range(len(before) // highest):
        left[max(left, key=lambda owner: (left[owner], owner))] -= 1
    return {
        bucket
        for owner, buckets in owned.items()
        for bucket in _spread(buckets, len(buckets) - left[owner])
    }


def _spread(items: Sequence[int], count: int) -> list[int]:
    """``count`` of the items, spaced as evenly as possible."""
    return [items[turn * len(items) // count] for turn in range(count)]


def _preferred(bucket: int, members: Sequence[str]) -> str:
    """The member of one number. Two members (never in one plan): highest random weight."""
    return max(members, key=lambda member: hash64(bucket, member))


RESILIENT = Balancer(
    name="resilient",
    summary=f"{BUCKETS} fixed buckets in even shares; only a lost member's buckets move",
    table=table,
    sizes=Sizes(BUCKETS),
    consistent=True,
)
