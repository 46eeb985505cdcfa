"""Consistent hashing: each member owns many small arcs of a ring."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from topologies.domain.balancer import Balancer, Sizes
from topologies.domain.hash64 import HASH_VALUES, hash64

#: Positions at which the ring is looked up, evenly spaced. With fewer, chance would matter
#: more than the length of the arcs.
BUCKETS = 1024
#: Points of one member on the ring, as many as in ketama. The sums of arcs then vary by
#: 1 / sqrt of that, 8 %. The finite number of positions adds to it.
VIRTUAL_NODES = 160


def table(members: Sequence[str], buckets: int = BUCKETS) -> tuple[str, ...]:
    """Each bucket belongs to the member of the first point at or after its position.

    Points do not depend on other members, so a member that leaves moves only its own
    buckets (Karger and others, "Consistent hashing and random trees", 1997).

    >>> before, after = table(["c1n1", "c1n2", "c1n3"]), table(["c1n1", "c1n3"])
    >>> {b for b, a in zip(before, after) if b != a}
    {'c1n2'}
    """
    points = sorted(point for member in members for point in _points(member))
    if not points:
        return ()
    positions = (bucket * HASH_VALUES // buckets for bucket in range(buckets))
    return tuple(
        points[bisect_left(points, (position, "")) % len(points)][1]
        for position in positions
    )


@cache
def _points(member: str) -> tuple[tuple[int, str], ...]:
    """The member's virtual nodes: positions on the ring, each with the member's name."""
    return tuple((hash64(member, replica), member) for replica in range(VIRTUAL_NODES))


RING = Balancer(
    name="ring",
    summary=f"consistent hashing, {VIRTUAL_NODES} virtual nodes each, {BUCKETS} "
    "buckets; a change moves the minimum",
    table=table,
    sizes=Sizes(BUCKETS),
    consistent=True,
)
