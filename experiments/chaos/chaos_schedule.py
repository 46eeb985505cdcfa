"""A schedule of chaos, by a seed; pure.

Actions come in bursts with calm between them. In a burst they overlap; in the calm, which
is longer than the bound of healing, what they left must be gone. Membership events are
drawn along the state that they lead to, so almost all are possible when their time comes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from experiments.chaos.chaos_actions import Action, Do
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS, EventError
from topologies.domain.events.instant import resolve_events
from topologies.domain.membership import Membership
from topologies.domain.plan import FABRIC, Node, Plan, PlanError

#: Actions of one burst, and the share of the time that is calm.
BURST = (4, 12)
CALM = 0.7
#: How often each kind of action is drawn, of 100.
WEIGHTS: Mapping[Do, int] = {
    Do.EVENTS: 54,
    Do.KILL: 13,
    Do.FREEZE: 9,
    Do.ABORT: 6,
    Do.REUSE: 5,
    Do.LOSE: 4,
    Do.FORGE: 4,
    Do.VANISH: 3,
    Do.STORM: 2,
}
#: How often each kind of membership event is drawn, where it is possible.
EVENT_WEIGHTS: Mapping[str, int] = {
    "drain-node": 4,
    "fail-node": 4,
    "restore-node": 10,
    "add-node": 1,
    "fail-chassis": 2,
    "restore-chassis": 5,
    "add-chassis": 1,
    "uplink-down": 3,
    "uplink-up": 6,
    "reseed": 3,
}
#: How many events come at one instant.
AT_ONCE = (1, 1, 1, 1, 2, 2, 3)
#: Nodes and chassis that may be added to the plan.
MORE_NODES, MORE_CHASSIS = 2, 1
#: A node that is not there yet is drawn this often before the event is given up.
TRIES = 50


@dataclass(frozen=True)
class ChaosSize:
    """How much: ``events`` in about ``duration_s`` seconds, on that plan.

    ``guards``: whether guards are processes that can be killed (scapy).
    """

    plan: Plan
    events: int
    duration_s: float
    guards: bool = False


def draw_schedule(seed: int, size: ChaosSize) -> tuple[Action, ...]:
    """The schedule of that seed: the same for the same seed and size."""
    draw = _Draw(random.Random(f"chaos {seed}"), size)
    return draw.timed(list(draw.actions()))


class _Draw:
    """The draws of one schedule; it holds the state to which the events led."""

    def __init__(self, chance: random.Random, size: ChaosSize) -> None:
        self._random = chance
        self._size = size
        self._state = Arrangement(size.plan, Membership.all_in_service(size.plan))
        nodes = sum(1 for _ in size.plan.nodes) + MORE_NODES
        nodes += MORE_CHASSIS * len(size.plan.chassis[0].nodes)
        self._most = nodes, len(size.plan.chassis) + MORE_CHASSIS

    def actions(self) -> Iterator[Action]:
        """Actions without their times, until there are enough events."""
        drawn = 0
        while drawn < self._size.events:
            (do,) = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            action = self._action(do, self._size.events - drawn)
            if action is not None:
                drawn += len(action.names)
                yield replace(action, seed=self._random.getrandbits(32))

    def timed(self, actions: list[Action]) -> tuple[Action, ...]:
        """Gives them times: bursts, and calm between them."""
        bursts, rest = [], actions
        while rest:
            count = self._random.randint(*BURST)
            bursts.append(rest[:count])
            rest = rest[count:]
        cycle_s = self._size.duration_s / max(1, len(bursts))
        return tuple(
            replace(action, at_s=round(at_s, 3))
            for number, burst in enumerate(bursts)
            for action, at_s in zip(
                burst, self._times(number * cycle_s, cycle_s, len(burst)), strict=True
            )
        )

    def _times(self, start_s: float, cycle_s: float, count: int) -> list[float]:
        busy_s = (1 - CALM) * cycle_s
        return sorted(start_s + self._random.random() * busy_s for _ in range(count))

    def _action(self, do: Do, at_most: int) -> Action | None:
        makers: Mapping[Do, Callable[[], Action | None]] = {
            Do.EVENTS: lambda: self._events(at_most),
            Do.KILL: lambda: Action(0, do, self._program()),
            Do.FREEZE: lambda: Action(
                *(0, do, self._program()), for_s=self._between(0.3, 2.5)
            ),
            Do.LOSE: lambda: Action(
                *(0, do, self._powered().name),
                for_s=self._between(2, 6),
                share=self._between(0.1, 0.9),
            ),
            Do.VANISH: lambda: self._of_client(do, for_s=self._between(1, 4)),
            Do.FORGE: lambda: self._of_client(do, count=self._random.randint(20, 100)),
            Do.STORM: lambda: self._of_client(
                do, count=self._random.randint(200, 1500), rate=500.0
            ),
        }
        return makers.get(do, lambda: self._of_client(do))()

    def _of_client(
        self, do: Do, for_s: float = 0, count: int = 0, rate: float = 0
    ) -> Action:
        client = self._random.choice(self._size.plan.clients).name
        return Action(0, do, client, for_s=for_s, count=count, rate=rate)

    def _between(self, low: float, high: float) -> float:
        return round(self._random.uniform(low, high), 2)

    def _powered(self) -> Node:
        plan, membership = self._state.plan, self._state.membership
        return self._random.choice(
            [n for chassis in plan.chassis for n in membership.powered_nodes(chassis)]
        )

    def _program(self) -> str:
        failed = self._state.membership.failed_chassis
        switches = [s for s in self._state.plan.switches if s not in failed]
        groups = ["controller", "healer", "server", "server", "ovs-vswitchd"]
        groups += ["ovsdb-server", *(["guard"] * 2 * self._size.guards)]
        group = self._random.choice(groups)
        if group in ("controller", "healer"):
            return group
        if group in ("server", "guard"):
            return f"{group} {self._powered().name}"
        return f"{group} {self._random.choice(switches)}"

    def _events(self, at_most: int) -> Action | None:
        """Membership events of one instant; the state follows them."""
        wanted = min(self._random.choice(AT_ONCE), at_most)
        events: list[tuple[str, str]] = []
        for _ in range(TRIES):
            kinds = list(EVENT_WEIGHTS)
            (kind,) = self._random.choices(kinds, list(EVENT_WEIGHTS.values()))
            target = self._random.choice(self._targets(kind))
            more = [*events, (kind, target)]
            if target in {name for _, name in events} or not self._possible(more):
                continue
            events = more
            if len(events) == wanted:
                break
        if not events:
            return None
        self._state = self._after(events)
        return Action(0, Do.EVENTS, events=tuple(events))

    def _targets(self, kind: str) -> list[str]:
        plan = self._state.plan
        chassis = [each.name for each in plan.chassis]
        if kind == "add-chassis":
            return [f"c{len(chassis) + 1}"]
        if kind == "reseed":
            return [FABRIC, "all", *chassis]
        if kind in ("drain-node", "fail-node", "restore-node"):
            return [node.name for node in plan.nodes]
        return chassis

    def _possible(self, events: list[tuple[str, str]]) -> bool:
        try:
            plan = self._after(events).plan
        except (EventError, PlanError):
            return False
        nodes, chassis = self._most
        return sum(1 for _ in plan.nodes) <= nodes and len(plan.chassis) <= chassis

    def _after(self, events: list[tuple[str, str]]) -> Arrangement:
        requests = [(EVENTS[kind], target) for kind, target in events]
        return resolve_events(self._state, requests)[-1].new
