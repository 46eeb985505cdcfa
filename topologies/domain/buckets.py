"""A bucket table: the member of each bucket of a switch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class BucketTable:
    """A bucket table: ``members[i]`` is the member of bucket ``i``.

    A connection is in bucket ``hash % len(members)``, hashed with ``basis``. An empty
    table has no member.
    """

    basis: int
    members: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of its buckets."""
        return len(self.members)

    def __iter__(self) -> Iterator[str]:
        """The members, bucket by bucket."""
        return iter(self.members)
