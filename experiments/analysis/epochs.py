"""The cluster's states between membership events, with their times: pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.pipeline.cluster_state import ClusterState
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import forecast

#: Chassis name -> names of its nodes.
Members = Mapping[str, frozenset[str]]
END_OF_TIME = 1 << 63
#: Upper bound for a segment's time from the fabric to a node, also on a busy machine.
IN_FLIGHT_NS = 50_000_000


@dataclass(frozen=True)
class Epoch:
    """The cluster from one membership event until the next.

    From ``start_ns`` (the event was requested) until ``settled_ns`` (no switch forwards
    by the old state any more) both states are possible. ``owner_of``: the node that a
    connection's segments reach. ``reachable``: the nodes that receive fan-out copies.
    ``cut_off``: the nodes that have power and keep their sockets, but receive none.
    """

    start_ns: int
    settled_ns: int
    owner_of: Callable[[FourTuple], str | None]
    reachable: Members
    cut_off: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, state: ClusterState, start_s: float = 0.0, settled_s: float = 0.0
    ) -> Epoch:
        """The epoch in which the switches forward by ``state``."""
        plan, membership = state.plan, state.membership
        reachable = {
            chassis.name: frozenset(
                node.name for node in membership.reachable_nodes(chassis)
            )
            for chassis in membership.reachable_chassis(plan)
        }
        powered = {n.name for c in plan.chassis for n in membership.powered_nodes(c)}
        return cls(
            round(start_s * 1e9),
            round(settled_s * 1e9),
            forecast(plan, membership, state.balancer).owner_of,
            reachable,
            frozenset(powered.difference(*reachable.values())),
        )

    def powers(self, node: str | None) -> bool:
        """Whether that node has power, and so keeps its sockets."""
        return node in self.cut_off or any(
            node in nodes for nodes in self.reachable.values()
        )


@dataclass(frozen=True)
class Expected:
    """Nodes that must, and nodes that may, get a copy. They differ during an event."""

    must: Members
    may: Members


class EpochTimeline:
    """The epochs of one run. The first is the one before all events."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        """``epochs`` in the order of their times, at least one."""
        self.epochs = tuple(epochs)
        self._starts = [epoch.start_ns for epoch in self.epochs[1:]]

    def at(self, time_ns: int) -> Epoch:
        """The epoch at that instant: the latest that has begun."""
        return self.epochs[bisect_right(self._starts, time_ns)]

    def after(self, time_ns: int) -> Iterator[Epoch]:
        """The epochs that begin after that instant, in order."""
        yield from self.epochs[bisect_right(self._starts, time_ns) + 1 :]

    def before(self, epoch: Epoch) -> Epoch:
        """The epoch before ``epoch``; for the first, itself."""
        return self.epochs[max(0, self.epochs.index(epoch) - 1)]

    def under_way(self, time_ns: int, slack_ns: int) -> bool:
        """Whether an event is in progress at that instant, give or take ``slack_ns``: from
        its request until no switch forwards by the old state."""
        return any(
            epoch.start_ns - slack_ns <= time_ns <= epoch.settled_ns + slack_ns
            for epoch in self.epochs[1:]
        )

    def expected(self, time_ns: int) -> Expected:
        """Which nodes get a copy of a reset that the fabric receives at that instant."""
        now = self.at(time_ns)
        if time_ns > now.settled_ns:
            return Expected(now.reachable, now.reachable)
        old = self.before(now).reachable
        return Expected(
            {c: old[c] & now.reachable[c] for c in old.keys() & now.reachable.keys()},
            {
                c: old.get(c, frozenset()) | now.reachable.get(c, frozenset())
                for c in old.keys() | now.reachable.keys()
            },
        )

    def cuts_off(self, time_ns: int, node: str | None) -> bool:
        """Whether a copy of a reset at that instant may not reach that node, because the
        node is cut off, or was until the event in progress."""
        now = self.at(time_ns)
        if time_ns > now.settled_ns:
            return node in now.cut_off
        return node in now.cut_off | self.before(now).cut_off
