"""Timelines of chaos, made up: two connections, one of which an event moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from controller.balancers import get_balancer
from experiments.chaos.chaos_actions import Action, Do
from experiments.chaos.chaos_facts import (
    Begun,
    Changed,
    Changing,
    Closed,
    Ended,
    Fact,
    Look,
    NodeSocket,
    Opened,
)
from experiments.chaos.chaos_judge import Terms, judge_timeline
from topologies.domain.arrangement import Arrangement
from topologies.domain.connection import FourTuple
from topologies.domain.events import EVENTS
from topologies.domain.forecast import owner
from topologies.domain.membership import Membership
from topologies.domain.plan import VIP4, Plan

PLAN = Plan.build()
START = Arrangement(PLAN, Membership.all_in_service(PLAN))
BALANCER = get_balancer("modulo", {})
BOUND_S, SLACK_S = 2.0, 1.0
PERIOD_S = 0.2
#: The story's event, and its end.
EVENT_S, SETTLED_S = 5.0, 5.2
END_S = 20.0


def after(*events: tuple[str, str], start: Arrangement = START) -> Arrangement:
    """The arrangement after those events."""
    for kind, target in events:
        start = EVENTS[kind].change(start, target)
    return start


#: The owner of the connection that moves is drained.
DRAINED = "c1n2"
LATER = after(("drain-node", DRAINED))


def _connections() -> Iterator[FourTuple]:
    for port in range(20000, 21000):
        yield FourTuple("10.1.0.1", port, VIP4, 10809)


def owner_in(state: Arrangement, connection: FourTuple) -> str | None:
    """The connection's owner in that state."""
    return owner(state.plan, state.membership, BALANCER, connection)


MOVED = next(c for c in _connections() if owner_in(START, c) == DRAINED)
STAYS = next(
    c for c in _connections() if owner_in(START, c) == owner_in(LATER, c) == "c2n1"
)


@dataclass
class Story:
    """What happens; tests spoil a part of it. Times in seconds.

    ``old_until_s``: when the old owner's kernel frees the moved connection. The client
    has it until it is reset at ``reset_s``.
    """

    reset_s: float = 5.4
    old_until_s: float = 5.5
    more: list[Fact] = field(default_factory=list)
    idle: Callable[[float], set[str]] = lambda _: set()
    ended: Callable[[float], set[str]] = lambda _: set()
    late_s: float = 0.0
    new: Arrangement = LATER
    stays_reset_s: float | None = None
    #: The client that has STAYS loses it then, and its node does not.
    vanish_s: float | None = None
    #: Whether the event happens.
    has_event: bool = True

    def facts(self) -> list[Fact]:
        """All facts in the order of time."""
        return sorted(self._facts(), key=lambda fact: fact.t)

    def violations(self, bound_s: float | None = BOUND_S) -> list[str]:
        """The invariants that the story violates, each once."""
        terms = Terms(START, BALANCER, bound_s, SLACK_S)
        found = judge_timeline(terms, self.facts())
        return sorted({one.invariant for one in found})

    def _facts(self) -> Iterable[Fact]:
        yield from (Opened(1.0, MOVED), Opened(1.1, STAYS))
        if self.has_event:
            yield from (Changing(EVENT_S), Changed(SETTLED_S, self.new))
        yield Closed(self.reset_s, MOVED, reset=True)
        if self.stays_reset_s is not None:
            yield Closed(self.stays_reset_s, STAYS, reset=True)
        yield from self.more
        steps = range(1, int(END_S / PERIOD_S) + 1)
        yield from (self._look(n * PERIOD_S) for n in steps)

    def _look(self, t: float) -> Look:
        held, clients = [], set()
        if 1.0 < t < self.old_until_s:
            held.append(NodeSocket(DRAINED, MOVED, 1))
        if 1.0 < t < self.reset_s:
            clients.add(MOVED)
        if t > 1.1 and not (self.stays_reset_s and t > self.stays_reset_s):
            held.append(NodeSocket("c2n1", STAYS, 2))
            if self.vanish_s is None or t < self.vanish_s:
                clients.add(STAYS)
        idle, ended = frozenset(self.idle(t)), frozenset(self.ended(t))
        return Look(
            *(t, tuple(held), frozenset(clients), idle | ended, ended),
            late_s=self.late_s,
        )


def during(start: float, end: float, *names: str) -> Callable[[float], set[str]]:
    """Those programs, between the two times."""
    return lambda t: set(names) if start <= t <= end else set()


def lasting(action: Action, start: float, end: float) -> Sequence[Fact]:
    """The two facts of an action that is undone."""
    done = replace(action, for_s=end - start)
    return Begun(start, done), Ended(end, done)


def vanishing(start: float, end: float) -> Sequence[Fact]:
    """Client h1 vanishes for that time."""
    return lasting(Action(start, Do.VANISH, "h1"), start, end)
