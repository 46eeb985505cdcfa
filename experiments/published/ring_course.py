"""The consistent-hash ring of the balancer ``ring``, changed by one server at a time.

A table from scratch costs a walk around the ring. Here each bucket knows how far away each
server's first point is, so a change touches the buckets that it moves, and no others. A
test holds it against the balancer's own tables.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from topologies.domain.hash64 import HASH_VALUES, hash64

Index = npt.NDArray[np.int64]


class RingCourse:
    """``owner[b]``: the number of the server of bucket ``b``; all servers are in service at
    the start."""

    def __init__(self, servers: list[str], buckets: int, virtual_nodes: int) -> None:
        points = np.array(
            [
                hash64(name, replica)
                for name in servers
                for replica in range(virtual_nodes)
            ],
            np.uint64,
        )
        of_server = np.repeat(np.arange(len(servers)), virtual_nodes)
        order = np.argsort(points, kind="stable")
        positions = np.array(
            [bucket * HASH_VALUES // buckets for bucket in range(buckets)], np.uint64
        )
        start = np.searchsorted(points[order], positions)
        self._ranks = np.empty((len(servers), buckets), np.int32)
        total = len(points)
        places = np.argsort(order, kind="stable")
        for server in range(len(servers)):
            own = np.sort(places[of_server == server])
            following = np.searchsorted(own, start) % len(own)
            self._ranks[server] = (own[following] - start) % total
        self.serving = np.ones(len(servers), bool)
        self.owner: Index = self._ranks.argmin(axis=0)

    def remove(self, server: int) -> Index:
        """The buckets that move because it leaves."""
        self.serving[server] = False
        moved: Index = (self.owner == server).nonzero()[0]
        (left,) = self.serving.nonzero()
        self.owner[moved] = left[self._ranks[np.ix_(left, moved)].argmin(axis=0)]
        return moved

    def add(self, server: int) -> Index:
        """The buckets that move to it because it returns."""
        self.serving[server] = True
        now = self._ranks[self.owner, np.arange(len(self.owner))]
        moved: Index = (self._ranks[server] < now).nonzero()[0]
        self.owner[moved] = server
        return moved
