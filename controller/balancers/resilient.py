"""Resilient hashing: fixed buckets, even shares, and only the lost member's ones move.

A switch that does this keeps the table and rewrites the lost member's buckets, so that
its table depends on what happened before (Linux: resilient next-hop groups). Here the
table is a function of the members alone, as a stateless load balancer's must be. A
function that never moves a bucket of a member that stays can only be one thing: each
bucket has an order of preference over all members there may ever be, and belongs to
the first that is in service. The art is in orders that share out evenly.

They are made by letting the *seats* in, one by one. A member_number is the number at the end of
a member's name, which the plan never gives to another: ``c1n3`` has member_number 3 of its
chassis, ``c2`` member_number 2 of the fabric. A new member_number puts itself first in as many buckets as
are its share, taken from those that have most, and evenly into all later places of the
others; nothing else is reordered. What follows, for any history of events:

- with seats 1 to n in service, shares differ by one bucket at most;
- a member that is lost leaves its buckets, spread over the others, and moves no other;
- one that returns takes back exactly the buckets that it had;
- one that joins takes its share, evenly from the others, and moves no other.

A switch would give a returning member *some* buckets, not its old ones; and after
several losses a switch can share out more evenly, knowing what went where.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from topologies.domain.balancer import Balancer
from topologies.domain.hash64 import hash64

#: Fixed, and more than there can be members in a plan.
BUCKETS = 256

#: Seats in the order in which one bucket prefers them.
Preference = tuple[int, ...]


def table(members: Sequence[str]) -> tuple[str, ...]:
    """Each bucket belongs to the member in service that it prefers.

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
        for bucket, preference in enumerate(preferences(max(by_number)))
    )


def member_number(member: str) -> int:
    """The number at the end of a member's name; 0 where there is none.

    >>> member_number("c1n12"), member_number("c3"), member_number("spare")
    (12, 3, 0)
    """
    number = re.search(r"[0-9]*$", member)
    return int(number[0] or 0) % BUCKETS if number else 0


@cache
def preferences(highest: int) -> tuple[Preference, ...]:
    """Each bucket's order of the seats 0 to ``highest``.

    Without the highest member_number it is the order of ``highest - 1``. Seat 0 is last
    everywhere: no member of a plan has it.
    """
    if highest == 0:
        return ((0,),) * BUCKETS
    before = preferences(highest - 1)
    first = _buckets_for_new_member(before, highest)
    later = sorted(set(range(BUCKETS)) - first, key=lambda b: (before[b], b))
    places = dict.fromkeys(first, 0)
    places |= {b: rank % (highest - 1) + 1 for rank, b in enumerate(later)}
    return tuple(
        (*order[: places[b]], highest, *order[places[b] :])
        for b, order in enumerate(before)
    )


def _buckets_for_new_member(before: Sequence[Preference], highest: int) -> set[int]:
    """The buckets that a new member_number takes: its share, each from who has most by then.

    Of one member_number's buckets those are taken that differ most in who comes next, so that
    the rest of them, if that member_number is lost too, still spreads over all.
    """
    owned: dict[int, list[int]] = defaultdict(list)
    for bucket in sorted(range(BUCKETS), key=lambda b: (before[b], b)):
        owned[before[bucket][0]].append(bucket)
    left = {owner: len(buckets) for owner, buckets in owned.items()}
    for _ in range(BUCKETS // highest):
        left[max(left, key=lambda owner: (left[owner], owner))] -= 1
    return {
        bucket
        for owner, buckets in owned.items()
        for bucket in _spread(buckets, len(buckets) - left[owner])
    }


def _spread(items: Sequence[int], count: int) -> list[int]:
    """``count`` of the items, as far from each other as can be."""
    return [items[turn * len(items) // count] for turn in range(count)]


def _preferred(bucket: int, by_number: Sequence[str]) -> str:
    """The one member of a member_number, or else (never in one plan) the highest random weight."""
    return max(by_number, key=lambda tenant: hash64(bucket, tenant))


RESILIENT = Balancer(
    name="resilient",
    summary=f"{BUCKETS} fixed buckets in even shares; only a lost member's buckets move",
    table=table,
)
