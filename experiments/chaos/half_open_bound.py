"""The bound of half-open connections, held against the socket tables; pure.

A node's socket is *half open* while no client's kernel has the connection established, or
another node's socket is the client's peer. The clock starts when that is first seen, and
starts again with

- each change that touched the connection: another owner, or the node cut off or back;
- each look at which its node cannot be reached, or a program that it needs does not run:
  healer, the node's server and guard, the switches on its way.

*Healing* asks clients after a change. It does not promise to notice a client that
vanished, or an abort whose reset was lost, while its connection's bucket is where it was.
Such sockets are counted as ``unasked``, and judged from the next change on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from experiments.chaos.chaos_actions import Action, Do
from experiments.chaos.chaos_facts import Begun, Ended, Look, NodeSocket
from experiments.chaos.chaos_routes import Routes
from experiments.chaos.violation import HALF_OPEN, Violation
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.plan import FABRIC, Plan, client_address

#: What clients or nodes said within that time of a loss may be lost, in seconds.
AROUND_S = 1.0


@dataclass
class _HalfOpen:
    since_s: float
    clock_s: float
    excused: bool
    judged: bool = False


@dataclass
class HalfOpenBound:
    """Judges look after look. ``bound_s`` and ``slack_s`` in seconds.

    ``slack_s`` is for reading the tables and for programs that wait for a core. To it
    comes how late the looks themselves were since the clock started.
    """

    plan: Plan
    routes: Routes
    bound_s: float
    slack_s: float
    #: The longest time beyond its cause that any of them was seen half open.
    worst_s: float = 0.0
    worst: str = ""
    #: How many were seen half open, and how many of them healing was not asked for.
    seen: int = 0
    unasked: int = 0
    _open: dict[NodeSocket, _HalfOpen] = field(default_factory=dict)
    _first_seen_s: dict[NodeSocket, float] = field(default_factory=dict)
    _lossy: dict[str, float] = field(default_factory=dict)
    _late: list[tuple[float, float]] = field(default_factory=list)

    def begun(self, fact: Begun) -> None:
        """Notes where words may be lost from now on: no end is known yet."""
        for place in _lossy_places(fact.action):
            self._lossy[place] = float("inf")

    def ended(self, fact: Ended) -> None:
        """Notes that they are lost no longer."""
        for place in _lossy_places(fact.action):
            self._lossy[place] = fact.t + AROUND_S

    def look(self, look: Look) -> list[Violation]:
        """What a look shows."""
        if look.late_s:
            self._late.append((look.t, look.late_s))
        for place in look.idle:
            self._lossy[place] = max(self._lossy.get(place, 0.0), look.t + AROUND_S)
        self._first_seen_s = {
            one: self._first_seen_s.get(one, look.t) for one in look.held
        }
        half_open = set(self._half_open(look))
        for gone in self._open.keys() - half_open:
            self.unasked += not self._open.pop(gone).judged
        found = [self._judge(one, look) for one in half_open]
        return [violation for violation in found if violation]

    def _half_open(self, look: Look) -> Iterable[NodeSocket]:
        holders: dict[FourTuple, list[NodeSocket]] = defaultdict(list)
        for one in look.held:
            holders[one.connection].append(one)
        for connection, sockets in holders.items():
            if connection in look.of_clients:
                sockets.remove(self._peer(connection, sockets))
            yield from sockets

    def _peer(self, connection: FourTuple, sockets: list[NodeSocket]) -> NodeSocket:
        """The socket that is most likely the client's: the youngest, else the owner's."""
        owner = self.routes.owner_of(connection)
        return max(sockets, key=lambda s: (self._first_seen_s[s], s.node == owner))

    def _judge(self, one: NodeSocket, look: Look) -> Violation | None:
        state = self._open.get(one)
        if state is None:
            self.seen += 1
            state = _HalfOpen(look.t, look.t, self._may_be_lost(one, look.t))
            self._open[one] = state
        changed_s = self.routes.last_change_s(one.node, one.connection)
        elsewhere = self.routes.owner_of(one.connection) != one.node
        if elsewhere or changed_s >= state.since_s:
            state.excused = False
        state.clock_s = max(state.clock_s, changed_s)
        if not self.routes.is_reachable(one.node) or self._is_held_up(one, look):
            state.clock_s = look.t
        if state.excused:
            return None
        state.judged = True
        return self._measure(one, state, look)

    def _measure(
        self, one: NodeSocket, state: _HalfOpen, look: Look
    ) -> Violation | None:
        beyond_s = look.t - state.clock_s
        late_s = sum(late for t, late in self._late if t > state.clock_s)
        text = f"{one.node} holds {format_connection(one.connection)}"
        if beyond_s > self.worst_s:
            self.worst_s, self.worst = beyond_s, text
        if beyond_s <= self.bound_s + self.slack_s + late_s:
            return None
        return Violation(
            HALF_OPEN,
            look.t,
            f"{text} half open {beyond_s:.2f} s after its cause; the bound is "
            f"{self.bound_s:g} s, with {self.slack_s + late_s:.2f} s of slack",
        )

    def _may_be_lost(self, one: NodeSocket, t: float) -> bool:
        """Whether the client's last word may not have reached the node."""
        return any(
            self._lossy.get(place, 0.0) >= t
            for place in (*self._needs(one), f"host {one.node}", self._client_of(one))
        )

    def _is_held_up(self, one: NodeSocket, look: Look) -> bool:
        return not look.idle.isdisjoint({"healer", *self._needs(one)})

    def _needs(self, one: NodeSocket) -> Iterable[str]:
        """The programs on the way between clients and that socket, and its own."""
        chassis = one.node.partition("n")[0]
        yield from (f"server {one.node}", f"guard {one.node}")
        for switch in (FABRIC, chassis):
            yield from (f"ovs-vswitchd {switch}", f"tables {switch}")

    def _client_of(self, one: NodeSocket) -> str:
        for client in self.plan.clients:
            if one.connection.src in (client_address(client, v) for v in (4, 6)):
                return f"host {client.name}"
        return ""


def _lossy_places(action: Action) -> tuple[str, ...]:
    if action.do in (Do.LOSE, Do.VANISH):
        return (f"host {action.target}",)
    if action.do in (Do.KILL, Do.FREEZE):
        return (action.target,)
    return ()
