"""What a balancing algorithm is: a name and a function from members to buckets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Balancer:
    """A balancing algorithm of a stateless load balancer.

    ``table`` maps the names of the members, in order, to the bucket table: the name
    at index ``i`` is the member of bucket ``i``; a connection is in bucket
    ``hash % len(table)``. It must be a pure function, name only members, and return
    an empty table for no members. Both tiers use the same algorithm.
    """

    name: str
    summary: str
    table: Callable[[Sequence[str]], tuple[str, ...]]
