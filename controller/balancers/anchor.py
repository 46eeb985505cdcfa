"""AnchorHash: every bucket has a place; only the places that are taken are counted.

Mendelson, Vargaftik, Barabash, Lorenz, Keslassy, Orda: "AnchorHash: A scalable consistent
hash" (IEEE/ACM Transactions on Networking, 2021). There are more *places* than members. A
key is hashed over all places. If that place is empty, it is hashed again over the places
that were taken when this one was left, and so on. So a member that leaves moves its own
keys only, evenly to all others, and one that joins takes keys evenly from all others.

That needs memory: the order in which places were left. A member that joins has to take
the place that was left last. :class:`~topologies.domain.membership.Membership` remembers
both. A member's own place is the number at the end of its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from controller.balancers.resilient import member_number
from topologies.domain.balancer import NOBODY, Balancer, Departed, Sizes
from topologies.domain.hash64 import hash64

#: As many as in ``ring``. At 15 members a share is 68 +- 8 buckets.
BUCKETS = 1024
#: Places: more than a plan can have members.
CAPACITY = 256


class AnchorHash:
    """The places, and in which order they were left (algorithm 3 of the paper).

    ``size_at``: 0 for a place that is taken, else the number of taken places just after
    it was left. All places begin empty but the first ``taken``, the last one left first.
    """

    def __init__(self, capacity: int, taken: int) -> None:
        """``capacity`` places, of which the first ``taken`` are taken."""
        self.capacity = capacity
        self.size = capacity
        self.size_at = [0] * capacity
        self._taken = list(range(capacity))
        self._location = list(range(capacity))
        self._successor = list(range(capacity))
        self._left: list[int] = []
        for place in range(capacity - 1, taken - 1, -1):
            self.leave(place)

    def leave(self, place: int) -> None:
        """The place becomes empty. Raises :class:`ValueError` for an empty or the last one."""
        if self.size_at[place] or self.size == 1:
            raise ValueError(f"place {place} is empty, or the last one taken")
        self._left.append(place)
        self.size -= 1
        self.size_at[place] = self.size
        last = self._taken[self.size]
        self._taken[self._location[place]] = self._successor[place] = last
        self._location[last] = self._location[place]

    def join(self) -> int:
        """The place that was left last is taken again. Raises :class:`IndexError` if none is."""
        place = self._left.pop()
        self.size_at[place] = 0
        last = self._taken[self.size]
        self._location[last] = self.size
        self._successor[place] = place
        self._taken[self._location[place]] = place
        self.size += 1
        return place

    def place_of(self, key: int | str) -> int:
        """The taken place of a key."""
        return self.path_of(key)[-1]

    def path_of(self, key: int | str) -> list[int]:
        """The key's places: empty ones, then its taken one.

        It belongs to an earlier one as soon as that is taken again.
        """
        place = _hashed(key) % self.capacity
        path = [place]
        while size := self.size_at[place]:
            following = _hashed(key, place) % size
            while self.size_at[following] >= size:
                # It was left earlier still, and another took its position in the list.
                following = self._successor[following]
            place = following
            path.append(place)
        return path


@lru_cache(maxsize=1 << 17)
def _hashed(*key: int | str) -> int:
    """Cached: the tables before and after an event ask for the same hashes."""
    return hash64("anchor", *key)


def table(
    members: Sequence[str], buckets: int = BUCKETS, departed: Departed = NOBODY
) -> tuple[str, ...]:
    """Each bucket's number is a key; it belongs to the member whose place the key has.

    >>> before = table(["c1n1", "c1n2", "c1n3"])
    >>> after = table(["c1n1", "c1n3"], departed=Departed(("c1n2",)))
    >>> {b for b, a in zip(before, after) if b != a}
    {'c1n2'}
    """
    if not members:
        return ()
    seats = dict(departed.seats)
    by_place: dict[int, list[str]] = defaultdict(list)
    for member in members:
        by_place[_place(seats.get(member, member))].append(member)
    left = dict.fromkeys(_place(seats.get(name, name)) for name in departed.left)
    places = _places(frozenset(by_place), tuple(p for p in left if p not in by_place))
    return tuple(
        max(by_place[places.place_of(bucket)], key=lambda m: hash64(bucket, m))
        for bucket in range(buckets)
    )


def _place(member: str) -> int:
    """A member's own place. Number 1 has the first; what has no number has the last."""
    return (member_number(member) - 1) % CAPACITY


@lru_cache(maxsize=64)
def _places(taken: frozenset[int], left: tuple[int, ...]) -> AnchorHash:
    """The places after those that nobody ever had were left, and then these, in order."""
    anchor = AnchorHash(CAPACITY, CAPACITY)
    never = (p for p in range(CAPACITY - 1, -1, -1) if p not in taken and p not in left)
    for place in (*never, *left):
        anchor.leave(place)
    return anchor


ANCHOR = Balancer(
    name="anchor",
    summary=f"AnchorHash over {BUCKETS} buckets; a change moves the minimum, evenly",
    table=table,
    sizes=Sizes(BUCKETS),
    consistent=True,
    ordered=True,
)
