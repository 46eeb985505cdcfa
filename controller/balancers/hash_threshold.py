"""RFC 2992's hash-threshold: each member owns one region of the hash's key space."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.balancer import Balancer

#: Size of the key space, fixed whoever the members are: a key is ``hash % BUCKETS``.
BUCKETS = 256


def table(members: Sequence[str]) -> tuple[str, ...]:
    """The key space cut into regions, as equal as can be, in the members' order.

    Every border moves when a member enters or leaves: of N members, the loss of the
    K-th moves ``(K(K-1) + (N-K)(N-K+1)) / 2N(N-1)`` of the keys, from a quarter (in the
    middle) to a half (at either end), where 1/N would have to (RFC 2992, 3).

    >>> regions = table(["c1n1", "c1n2", "c1n3"])
    >>> [regions.count(member) for member in ("c1n1", "c1n2", "c1n3")]
    [86, 85, 85]
    """
    if not members:
        return ()
    return tuple(members[key * len(members) // BUCKETS] for key in range(BUCKETS))


HASH_THRESHOLD = Balancer(
    name="hash-threshold",
    summary="equal regions of 256 keys (RFC 2992); a change moves a quarter to a half",
    table=table,
)
