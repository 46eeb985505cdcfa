"""When the route of a connection last changed, as the healer knows it; pure.

A *version* is a state of the cluster from the time at which the healer first saw it. Only
what decides routes is compared: bucket tables, hash bases, and which nodes can be reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controller.pipeline.cluster_state import ClusterState
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import Forecast, forecast

#: Number of versions that are kept. Older changes count as made at the oldest of them.
VERSIONS = 32


@dataclass(frozen=True)
class Version:
    """Routes since ``since_s``, and the nodes that packets can reach."""

    since_s: float
    routes: Forecast
    reachable: frozenset[str]

    def owner_of(self, connection: FourTuple) -> str | None:
        """The node that its segments are sent to; None if there is none."""
        return self.routes.owner_of(connection)


class RouteHistory:
    """The latest versions, oldest first. Times are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._versions: deque[Version] = deque(maxlen=VERSIONS)
        self._seen: int | None = None
        #: Counts the versions that were added.
        self.number = 0

    def add(self, state: ClusterState, now_s: float) -> None:
        """The state of the cluster from now on.

        It brings along what the healer has missed since the last call, as if all of that
        had happened now: two changes may come one right after the other, and a healer may
        be kept from its work for a while. The first one brings its whole history along: a
        healer that was restarted does not know when.
        """
        missed = VERSIONS if self._seen is None else state.number - self._seen - 1
        earlier = state.history[: max(0, missed)]
        self._seen = state.number
        for arrangement in (*earlier[::-1], state.arrangement):
            routes = forecast(arrangement.plan, arrangement.membership, state.balancer)
            reachable = frozenset(
                node.name
                for chassis in arrangement.plan.chassis
                for node in arrangement.membership.reachable_nodes(chassis)
            )
            self._versions.append(Version(now_s, routes, reachable))
        self.number += 1

    @property
    def current(self) -> Version:
        """The latest version. Raises :class:`IndexError` if there is none."""
        return self._versions[-1]

    def changed_s(self, node: str, connection: FourTuple) -> float | None:
        """When the route of a connection that ``node`` holds last changed, or its
        reachability; None if neither has."""
        return _last_change(
            self._versions, lambda v: (v.owner_of(connection), node in v.reachable)
        )


def _last_change(
    versions: Iterable[Version], what: Callable[[Version], object]
) -> float | None:
    found, before = None, None
    for index, version in enumerate(versions):
        value = what(version)
        if index and value != before:
            found = version.since_s
        before = value
    return found
