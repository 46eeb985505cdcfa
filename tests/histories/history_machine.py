"""The state machine: what may happen in a cluster, and what must hold all the time."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.histories.earlier_owners import (
    require_earlier_owners_asked,
    require_earlier_owners_copied,
)
from tests.histories.world import BOUND_S, SLACK_S, World
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS, EventError
from topologies.domain.events.instant import resolve_events
from topologies.domain.forecast import owner
from topologies.domain.plan import FABRIC, Plan, PlanError

#: Few ports, so that connections follow each other on one 4-tuple.
SPORTS = (40001, 40002)
POLICIES = ("flood", "directed", "second-chance")
BALANCERS = ("modulo", "rendezvous")

#: Between the initial numbers of a port's connections: far, or near to the last one's. Not
#: both ends' are near (RFC 6528).
_FAR, _NEAR = 0x1357_9BDF, 40_000
_MOST_CHASSIS, _MOST_NODES = 3, 3

_sports = st.sampled_from(SPORTS)
_nearness = st.sampled_from(("neither", "client", "server"))
_positions = st.integers(0, 1 << 16)


class Histories(RuleBasedStateMachine):
    """One cluster. ``removed``: checks that are taken away."""

    removed: ClassVar[frozenset[str]] = frozenset()
    policies: ClassVar[tuple[str, ...]] = POLICIES
    world: World

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A policy, a balancer, and a connection of each port."""
        policy = data.draw(st.sampled_from(self.policies))
        balancer = data.draw(st.sampled_from(BALANCERS))
        self.world = World(policy, balancer, self.removed)
        self.iss: dict[int, int] = {}
        for sport in SPORTS:
            self._open(sport, "neither", waits=True)

    # --------------------------------------------------------------------- clients

    @rule(sport=_sports, near=_nearness, waits=st.booleans())
    def open(self, sport: int, near: str, waits: bool) -> None:
        """A connection, from a port that may have had one."""
        if self.world.there and sport not in self.world.clients:
            self._open(sport, near, waits)

    def _open(self, sport: int, near: str, waits: bool) -> None:
        step = _NEAR if near == "client" else _FAR
        self.iss[sport] = (self.iss.get(sport, 0) + step) % (1 << 32)
        self.world.open(sport, self.iss[sport], near_server=near == "server")
        if waits:
            self.world.all_arrive()

    @rule(sport=_sports, length=st.integers(1, 1400), waits=st.booleans())
    def speak(self, sport: int, length: int, waits: bool) -> None:
        """A client sends data; with ``waits`` everything under way arrives."""
        if sport in self.world.clients:
            self.world.speak(sport, length)
            if waits:
                self.world.all_arrive()

    @rule(sport=_sports, length=st.integers(1, 1400))
    def server_speaks(self, sport: int, length: int) -> None:
        """A server sends data."""
        self.world.server_speaks(sport, length)

    @rule(sport=_sports)
    def abort(self, sport: int) -> None:
        """A client aborts."""
        if sport in self.world.clients:
            self.world.abort(sport)

    @rule(sport=_sports, near=_nearness, waits=st.booleans())
    def reuse(self, sport: int, near: str, waits: bool) -> None:
        """As NFSv4.0 does: the connection is aborted, and opened again at once."""
        if sport in self.world.clients:
            self.world.abort(sport)
            self._open(sport, near, waits)

    @rule(sport=_sports)
    def server_aborts(self, sport: int) -> None:
        """A server aborts."""
        self.world.server_aborts(sport)

    @rule()
    def vanish_or_return(self) -> None:
        """The client's host loses its power, or has it again."""
        if self.world.there:
            self.world.vanish()
        else:
            self.world.there = True

    # ----------------------------------------------------------------------- weather

    @precondition(lambda self: self.world.wire)
    @rule(position=_positions, again=st.booleans())
    def arrive(self, position: int, again: bool) -> None:
        """Something arrives: in any order, perhaps not for the last time."""
        self.world.arrive(position % len(self.world.wire), again=again)

    @precondition(lambda self: self.world.wire)
    @rule()
    def all_arrive(self) -> None:
        """Everything that is under way arrives, and what it causes."""
        self.world.all_arrive()

    @precondition(lambda self: self.world.wire)
    @rule(position=_positions)
    def lose(self, position: int) -> None:
        """Something is lost."""
        self.world.wire.pop(position % len(self.world.wire))

    @rule(position=_positions, is_reset=st.booleans())
    def late(self, position: int, is_reset: bool) -> None:
        """What has arrived once does so again."""
        self.world.arrive_late(position, is_reset)

    @rule()
    def wait_for_healer(self) -> None:
        """Until it is about to destroy something."""
        self.world.wait_for_healer()

    @rule(seconds=st.sampled_from((0.05, 0.1, 0.3, 0.6, 1.1)))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.world.pass_time(seconds)

    @rule()
    def fair_weather(self) -> None:
        """For the bound: then nothing is half open, and nobody waits."""
        world = self.world
        world.turn_fair(BOUND_S + SLACK_S)
        world.require_all_freed()
        if world.expire_late_requests():
            world.turn_fair(BOUND_S + SLACK_S)
        world.require_no_client_hangs()

    # ------------------------------------------------------------------------ events

    @rule(data=st.data())
    def event(self, data: st.DataObject) -> None:
        """A membership event of any kind, where it is possible."""
        possible = _possible(self.world.state.arrangement)
        self.world.change(data.draw(st.sampled_from(possible)))
        self._ask_history()

    @rule(sport=_sports, data=st.data(), speaks=st.booleans())
    def move(self, sport: int, data: st.DataObject, speaks: bool) -> None:
        """An event that gives a connection another owner; its client may speak then."""
        world = self.world
        before, possible = world.owner_of(world.key(sport)), []
        for new in _possible(world.state.arrangement):
            of = owner(new.plan, new.membership, world.state.balancer, world.key(sport))
            possible += [new] if of != before else []
        if possible:
            world.change(data.draw(st.sampled_from(possible)))
            self._ask_history()
            if speaks and sport in world.clients:
                world.speak(sport, 100)
                self.world.all_arrive()

    @rule()
    def healer_dies(self) -> None:
        """The healer is killed and started again."""
        self.world.restart_healer()

    @invariant()
    def within_the_budget(self) -> None:
        """Copies stay within the budget."""
        self.world.require_budget()

    def teardown(self) -> None:
        """Every history ends in fair weather."""
        if hasattr(self, "world"):
            self.world.there = True
            self.fair_weather()

    def _ask_history(self) -> None:
        """What the switches say of earlier owners is what really was."""
        for sport in SPORTS:
            if self.world.policy == "second-chance":
                require_earlier_owners_asked(self.world, sport)
            elif self.world.policy == "directed":
                require_earlier_owners_copied(self.world, sport)


def _possible(now: Arrangement) -> list[Arrangement]:
    """Where one event can lead, of a kind and a target; a cluster stays small."""
    plan = now.plan
    chassis = [each.name for each in plan.chassis]
    targets = [*chassis, *(node.name for node in plan.nodes), FABRIC, "all"]
    found = []
    for kind in EVENTS.values():
        for target in targets:
            with suppress(EventError, PlanError):
                (step,) = resolve_events(now, [(kind, target)])
                if _is_small(step.new.plan):
                    found.append(step.new)
    return found


def _is_small(plan: Plan) -> bool:
    widest = max(len(chassis.nodes) for chassis in plan.chassis)
    return len(plan.chassis) <= _MOST_CHASSIS and widest <= _MOST_NODES
