"""RFC 2992's hash-threshold: each member owns one region of the hash's key space."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.balancer import Balancer, Sizes

#: Size of the key space, the same for any members: a key is ``hash % buckets``.
BUCKETS = 256


def table(members: Sequence[str], buckets: int = BUCKETS) -> tuple[str, ...]:
    """The key space split into regions of equal size (up to one key), in members' order.

    Every border moves when a member joins or leaves. Of N members, the loss of the K-th
    moves ``(K(K-1) + (N-K)(N-K+1)) / 2N(N-1)`` of the keys: a quarter for a member in
    the middle, a half for one at either end. The minimum is 1/N (RFC 2992, 3).

    >>> regions = table(["c1n1", "c1n2", "c1n3"])
    >>> [regions.count(member) for member in ("c1n1", "c1n2", "c1n3")]
    [86, 85, 85]
    """
    if not members:
        return ()
    return tuple(members[key * len(members) // buckets] for key in range(buckets))


HASH_THRESHOLD = Balancer(
    name="hash-threshold",
    summary="equal regions of 256 keys (RFC 2992); a change moves a quarter to a half",
    table=table,
    sizes=Sizes(BUCKETS),
)
