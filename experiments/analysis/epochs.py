"""How a cluster was arranged, and when: its states between membership events, pure."""

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
#: How long a segment may be on its way from the fabric to a node: many times what it
#: takes on a machine that has other things to do.
IN_FLIGHT_NS = 50_000_000


@dataclass(frozen=True)
class Epoch:
    """The cluster from one membership event on, until the next.

    From ``start_ns`` (the event was asked for) to ``settled_ns`` (no switch forwards by
    the old state any more) either state may be met. ``owner_of`` says which node a
    connection's segments reach; ``reachable`` which nodes take a fan-out copy, and
    ``cut_off`` which have power and keep their sockets, but take none.
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
        """The epoch in which the switches are equal to ``state``."""
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
        """Whether the node of that name has power, and so keeps its sockets."""
        return node in self.cut_off or any(
            node in nodes for nodes in self.reachable.values()
        )


@dataclass(frozen=True)
class Expected:
    """Who must, and who may, get a copy of a reset: they differ during an event."""

    must: Members
    may: Members


class EpochTimeline:
    """The epochs of one run, the first from before everything."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        """``epochs`` in the order of their times, at least one."""
        self.epochs = tuple(epochs)
        self._starts = [epoch.start_ns for epoch in self.epochs[1:]]

    def at(self, time_ns: int) -> Epoch:
        """The epoch of that instant: the latest that has begun."""
        return self.epochs[bisect_right(self._starts, time_ns)]

    def after(self, time_ns: int) -> Iterator[Epoch]:
        """The epochs that begin later than that instant, in order."""
        yield from self.epochs[bisect_right(self._starts, time_ns) + 1 :]

    def before(self, epoch: Epoch) -> Epoch:
        """The epoch that ``epoch`` replaced; the first replaced none but itself."""
        return self.epochs[max(0, self.epochs.index(epoch) - 1)]

    def under_way(self, time_ns: int, slack_ns: int) -> bool:
        """Whether an event is at that instant, give or take ``slack_ns``: from when it
        is asked for until no switch forwards by the old state."""
        return any(
            epoch.start_ns - slack_ns <= time_ns <= epoch.settled_ns + slack_ns
            for epoch in self.epochs[1:]
        )

    def expected(self, time_ns: int) -> Expected:
        """Who gets a copy of a reset that the fabric receives at that instant."""
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
        """Whether a copy of a reset of that instant cannot be sure to reach that node,
        because it is cut off, or was until the event that is under way."""
        now = self.at(time_ns)
        if time_ns > now.settled_ns:
            return node in now.cut_off
        return node in now.cut_off | self.before(now).cut_off
