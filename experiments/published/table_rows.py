"""What is published about bucket tables alone: shares, and what a change moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from controller.balancers import BALANCERS, hash_threshold, maglev
from experiments.model.flows import mixed64
from experiments.published.ring_course import RingCourse

#: Maglev's two table sizes, backends, and points of each on Karger's ring (section 5.3).
SMALL, LARGE, BACKENDS, VIEWS = 65_537, 655_373, 1000, 1000
_CHUNK = 1 << 14


def names(count: int) -> list[str]:
    """That many members of one chassis."""
    return [f"c1n{number}" for number in range(1, count + 1)]


def over_provision(
    table: Sequence[object] | npt.NDArray[np.int64], members: int
) -> float:
    """By how many percent the largest share exceeds the mean."""
    if isinstance(table, np.ndarray):
        most = int(np.bincount(table).max())
    else:
        most = max(Counter(table).values())
    return 100 * (most * members / len(table) - 1)


def maglev_over_provision(buckets: int) -> float:
    """Of Maglev's table."""
    return over_provision(maglev.table(names(BACKENDS), buckets), BACKENDS)


def karger_over_provision(buckets: int) -> float:
    """Of a ring with :data:`VIEWS` points for each backend."""
    return over_provision(ring_owners(names(BACKENDS), buckets, VIEWS), BACKENDS)


def ring_owners(members: list[str], buckets: int, views: int) -> npt.NDArray[np.int64]:
    """The owner of each bucket by the ring; its points are drawn by splitmix64."""
    numbers = np.arange(len(members) * views, dtype=np.uint64)
    points = mixed64(numbers ^ np.uint64(0xC2B2AE3D27D4EB4F))
    order = np.argsort(points)
    width = (1 << 64) // buckets
    positions = np.arange(buckets, dtype=np.uint64) * np.uint64(width)
    place = np.searchsorted(points[order], positions) % len(points)
    found: npt.NDArray[np.int64] = order[place] // views
    return found


def rendezvous_over_provision(buckets: int) -> float:
    """Of highest random weights, which splitmix64 draws."""
    owners = []
    members = np.arange(BACKENDS, dtype=np.uint64) << np.uint64(32)
    for first in range(0, buckets, _CHUNK):
        some = np.arange(first, min(first + _CHUNK, buckets), dtype=np.uint64)
        best = np.zeros(len(some), np.uint64)
        owner = np.zeros(len(some), np.int64)
        for number, member in enumerate(members):
            weight = mixed64(some | member)
            higher = weight > best
            best[higher], owner[higher] = weight[higher], number
        owners.append(owner)
    return over_provision(np.concatenate(owners), BACKENDS)


def maglev_extra_moves(buckets: int, lost: int) -> float:
    """Percent of the entries that move, though their backend stays, if ``lost`` of
    :data:`BACKENDS` fail."""
    members = names(BACKENDS)
    gone = set(members[:: BACKENDS // lost][:lost])
    before = maglev.table(members, buckets)
    after = maglev.table([name for name in members if name not in gone], buckets)
    pairs = zip(before, after, strict=True)
    return 100 * sum(o != n and o not in gone for o, n in pairs) / buckets


def cilium_extra_moves() -> float:
    """Percent of 1,021 slots that move between the two of three backends that stay."""
    before, after = (maglev.table(names(count), 1021) for count in (3, 2))
    pairs = zip(before, after, strict=True)
    return 100 * sum(o not in (n, "c1n3") for o, n in pairs) / 1021


def cilium_weights() -> list[int]:
    """Slots of backends with the weights 2, 13, 111 and 10."""
    weights = dict(zip(names(4), (2.0, 13.0, 111.0, 10.0), strict=True))
    shares = Counter(maglev.weighted_table(weights, 1021))
    return [shares[name] for name in weights]


def hash_threshold_moves(members: int, keys: int) -> tuple[float, float]:
    """The least and the most of the keys that the loss of one member moves, in percent."""
    everybody = names(members)
    before = hash_threshold.table(everybody, keys)
    shares = []
    for gone in everybody:
        rest = [name for name in everybody if name != gone]
        after = hash_threshold.table(rest, keys)
        shares.append(sum(o != n for o, n in zip(before, after, strict=True)) / keys)
    return 100 * min(shares), 100 * max(shares)


def ring_matches_the_balancer(members: int, buckets: int) -> bool:
    """Whether :class:`RingCourse` has the table of the balancer ``ring``."""
    everybody = names(members)
    course = RingCourse(everybody, buckets, 160)
    table = BALANCERS["ring"].with_buckets(buckets).node_table(everybody)
    return [everybody[number] for number in course.owner] == list(table)
