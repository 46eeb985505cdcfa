"""No connection that did not move is reset; by the probes of the clients' sockets; pure.

A connection *moved* if its segments were sent to more than one node between its SYN and
its end, as the bucket tables of that time say. A reset of an unmoved one is excused if
its owner's server ended meanwhile: its kernel closes the sockets of a program that is
killed. A client's own abort is no reset that it receives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.chaos.chaos_actions import Do
from experiments.chaos.chaos_facts import Begun, Closed, Look, Opened
from experiments.chaos.chaos_routes import Routes
from experiments.chaos.violation import UNMOVED_RESET, Violation
from topologies.domain.connection import FourTuple, format_connection

#: Two clocks tell the times: the kernel's of the probes, and ours of the changes. A
#: segment may be on its way while tables change. In seconds.
MARGIN_S = 0.05


@dataclass
class UnmovedResets:
    """Judges ends of connections, when no change is under way."""

    routes: Routes
    #: Connections that ended or are open, those that moved, and those that were reset.
    opened: int = 0
    moved: int = 0
    resets: int = 0
    excused: int = 0
    _opened_s: dict[FourTuple, float] = field(default_factory=dict)
    _waiting: list[tuple[float, Closed]] = field(default_factory=list)
    _server_ended_s: dict[str, list[float]] = field(default_factory=dict)

    def opened_one(self, fact: Opened) -> None:
        """A SYN: a connection may open."""
        self._opened_s[fact.connection] = fact.t

    def closed_one(self, fact: Closed) -> None:
        """An established connection ended. It is judged later; the next one of the same
        ports may have opened then."""
        self._waiting.append((self._opened_s.get(fact.connection, 0.0), fact))

    def begun(self, fact: Begun) -> None:
        """A server is killed."""
        group, _, node = fact.action.target.partition(" ")
        if fact.action.do is Do.KILL and group == "server":
            self._note_end(node, fact.t)

    def look(self, look: Look) -> list[Violation]:
        """Judges what has ended, if no change is under way."""
        for name in look.ended:
            group, _, node = name.partition(" ")
            if group == "server":
                self._note_end(node, look.t)
        if self.routes.is_changing:
            return []
        waiting, self._waiting = self._waiting, []
        found = [self._judge(start, one) for start, one in waiting]
        return [violation for violation in found if violation]

    def _note_end(self, node: str, t: float) -> None:
        self._server_ended_s.setdefault(node, []).append(t)

    def _judge(self, start: float, one: Closed) -> Violation | None:
        owners = self.routes.owners(one.connection, start - MARGIN_S, one.t + MARGIN_S)
        self.opened += 1
        self.moved += len(owners) > 1
        if not one.reset:
            return None
        self.resets += 1
        if len(owners) > 1:
            return None
        if any(self._server_ended(owner, start, one.t) for owner in owners):
            self.excused += 1
            return None
        return Violation(
            UNMOVED_RESET,
            one.t,
            f"{format_connection(one.connection)} of {', '.join(owners) or 'no node'} was "
            f"reset {one.t - start:.3f} s after its SYN, and had not moved",
        )

    def _server_ended(self, node: str, start: float, end: float) -> bool:
        """Whether it ended in that time; a look sees it some time after the end."""
        ended = self._server_ended_s.get(node, [])
        return any(start - MARGIN_S <= t <= end + 2.0 for t in ended)
