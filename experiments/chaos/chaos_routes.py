"""Which node each connection was sent to, and since when; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from topologies.domain.arrangement import Arrangement
from topologies.domain.balancer import Balancer
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import Forecast, forecast


@dataclass
class _Version:
    """Routes that may be in force from ``from_s``, and are from ``settled_s`` on."""

    from_s: float
    settled_s: float
    routes: Forecast
    reachable: frozenset[str]


class Routes:
    """All versions so far. Times are those of the facts."""

    def __init__(self, arrangement: Arrangement, balancer: Balancer) -> None:
        self._balancer = balancer
        self._versions = [self._version(0.0, 0.0, arrangement)]
        self._changing_s: float | None = None
        self.arrangement = arrangement

    @property
    def is_changing(self) -> bool:
        """Whether a change is under way."""
        return self._changing_s is not None

    @property
    def settled_s(self) -> float:
        """When the last change was over."""
        return self._versions[-1].settled_s

    def changing(self, t: float) -> None:
        """A change begins."""
        self._changing_s = t

    def changed(self, t: float, arrangement: Arrangement) -> None:
        """The change is over, or was undone."""
        begun = t if self._changing_s is None else self._changing_s
        self._versions.append(self._version(begun, t, arrangement))
        self._changing_s = None
        self.arrangement = arrangement

    def owner_of(self, connection: FourTuple) -> str | None:
        """The node that its segments are sent to now."""
        return self._versions[-1].routes.owner_of(connection)

    def is_reachable(self, node: str) -> bool:
        """Whether segments reach the node now."""
        return node in self._versions[-1].reachable

    def owners(self, connection: FourTuple, start: float, end: float) -> set[str]:
        """Every node that its segments may have been sent to in that time."""
        found = {
            version.routes.owner_of(connection)
            for version, until in self._with_ends()
            if version.from_s <= end and until >= start
        }
        return {name for name in found if name is not None}

    def last_change_s(self, node: str, connection: FourTuple) -> float:
        """When the latest change was over that touched a connection held by ``node``.

        It changed the connection's owner, or whether the node can be reached. -inf if
        there was none.
        """
        now = self._touching(self._versions[-1], node, connection)
        for later, earlier in zip(
            self._versions[::-1], self._versions[-2::-1], strict=False
        ):
            before = self._touching(earlier, node, connection)
            if before != now:
                return later.settled_s
        return -inf

    @staticmethod
    def _touching(
        version: _Version, node: str, connection: FourTuple
    ) -> tuple[str | None, bool]:
        return version.routes.owner_of(connection), node in version.reachable

    def _with_ends(self) -> Iterator[tuple[_Version, float]]:
        for version, later in zip(self._versions, self._versions[1:], strict=False):
            yield version, later.settled_s
        yield self._versions[-1], inf

    def _version(
        self, from_s: float, settled_s: float, arrangement: Arrangement
    ) -> _Version:
        plan, membership = arrangement.plan, arrangement.membership
        reachable = frozenset(
            node.name
            for chassis in plan.chassis
            for node in membership.reachable_nodes(chassis)
        )
        routes = forecast(plan, membership, self._balancer)
        return _Version(from_s, settled_s, routes, reachable)
