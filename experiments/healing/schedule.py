"""What the healer does with each connection, and when; pure.

A node is *in doubt* about a connection that it holds when

- the connection's bucket belongs to another node: its client cannot be heard here, unless
  nodes pass strays on; or
- its bucket, or the way to the node, has changed and changed back, and no segment of the
  client has come since.

In doubt, the node asks the client by keepalives. A client that is gone answers RST: at
the node it ends the connection, at any other node it is relayed and ends it too. A client
that still has the connection is heard here, or resets itself at the node that its segments
reach now. A node that hears nothing until the deadline destroys its end. So the bound
holds whatever is lost. While a node is cut off it waits: nothing could get through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from topologies.domain.connection import FourTuple

#: Shares of the bound: silence before the first keepalive, pause between two, and the time
#: at which the node destroys its end. The rest of the bound is for noticing the change and
#: for reading the sockets.
FIRST_PROBE, NEXT_PROBE, DEADLINE = 0.25, 0.125, 0.75
#: Two readings of when a client was last heard differ a little for the same segment: the
#: kernel counts in ticks, and reading many sockets takes time. As a share of the bound; an
#: answer to a keepalive is later by more than the silence before it.
SAME = 0.0625
#: Keepalives without an answer before an end is destroyed.
LEAST_PROBES = 2


@dataclass(frozen=True)
class Held:
    """A connection that a node holds. ``heard_s``: when its client was last heard; None for
    a handshake that is not complete, of which the kernel does not say.

    ``cookie``: the kernel's identity of the socket, other than that of a later connection
    between the same ends.
    """

    node: str
    connection: FourTuple
    heard_s: float | None
    cookie: int = 0


@dataclass(frozen=True)
class Actions:
    """What to do now: the connections to send a keepalive on, and those to destroy.

    ``in_doubt``: how many connections are in doubt. The healer must look again then.
    """

    probe: tuple[Held, ...] = ()
    destroy: tuple[Held, ...] = ()
    in_doubt: int = 0


#: Node, connection and socket.
_Key = tuple[str, FourTuple, int]


@dataclass
class _Doubt:
    since_s: float
    probed_s: float = 0.0
    probes: int = 0


@dataclass
class Schedule:
    """Decides by what is held, look after look. ``bound_s``: the bound T, in seconds."""

    bound_s: float
    _doubts: dict[_Key, _Doubt] = field(default_factory=dict)
    #: The look before the one that first showed each connection: it began after that.
    _begun: dict[_Key, float] = field(default_factory=dict)
    _looked_s: float = float("-inf")

    def look(
        self,
        held: Iterable[Held],
        now_s: float,
        owner_of: Callable[[FourTuple], str | None],
        changed_s: Callable[[str, FourTuple], float | None],
        is_reachable: Callable[[str], bool],
    ) -> Actions:
        """What to do at ``now_s`` about everything that nodes hold.

        ``owner_of``: the node of a connection's bucket now. ``changed_s``: when the route
        of a connection that the node holds last changed, None for never. Connections that
        are not in ``held`` any more are forgotten.
        """
        doubts: dict[_Key, _Doubt] = {}
        begun: dict[_Key, float] = {}
        probe, destroy = [], []
        for one in held:
            key = one.node, one.connection, one.cookie
            begun_s = begun[key] = self._begun.get(key, self._looked_s)
            heard_s = begun_s if one.heard_s is None else one.heard_s
            changed = changed_s(one.node, one.connection)
            # Only a sign of life begins the doubt of a node that is not the owner anew:
            # changes from one other node to another do not concern it.
            anew_s = heard_s
            since = heard_s if changed is None else max(heard_s, changed)
            if owner_of(one.connection) == one.node:
                if changed is None or self._is_settled(begun_s, heard_s, changed):
                    continue
                since = anew_s = changed
            doubt = doubts[key] = self._doubts.get(key, _Doubt(since))
            if anew_s - doubt.since_s > SAME * self.bound_s:
                doubt.since_s, doubt.probes = anew_s, 0
            if not is_reachable(one.node):
                # Nothing gets through, and the time begins with the way.
                doubt.since_s, doubt.probes = now_s, 0
            elif self._is_over(doubt, now_s):
                destroy.append(one)
            elif self._is_due(doubt, now_s):
                doubt.probed_s, doubt.probes = now_s, doubt.probes + 1
                probe.append(one)
        self._doubts, self._begun, self._looked_s = doubts, begun, now_s
        return Actions(tuple(probe), tuple(destroy), len(doubts))

    def _is_due(self, doubt: _Doubt, now_s: float) -> bool:
        """Not right before the deadline, unless it must be asked: the wait for that answer
        would put the deadline off."""
        age_s = now_s - doubt.since_s
        if age_s < FIRST_PROBE * self.bound_s:
            return False
        if doubt.probes < LEAST_PROBES:
            return not doubt.probes or self._has_waited(doubt, now_s)
        early = age_s < (DEADLINE - NEXT_PROBE / 2) * self.bound_s
        return early and self._has_waited(doubt, now_s)

    def _is_over(self, doubt: _Doubt, now_s: float) -> bool:
        """At the deadline, but never before its client has been asked in vain: the healer
        itself may have been stopped for longer than the bound."""
        late = now_s - doubt.since_s >= DEADLINE * self.bound_s
        return late and doubt.probes >= LEAST_PROBES and self._has_waited(doubt, now_s)

    def _has_waited(self, doubt: _Doubt, now_s: float) -> bool:
        return now_s - doubt.probed_s >= NEXT_PROBE * self.bound_s

    def _is_settled(self, begun_s: float, heard_s: float, changed_s: float) -> bool:
        """Whether an owner needs no sign of life: the connection began after the change,
        or its client was heard since. What comes right after the change tells nothing: it
        may have been under way before.
        """
        return begun_s >= changed_s or heard_s > changed_s + SAME * self.bound_s
