"""The flow table of the reference guard, built from observed segments.

Each segment to or from the node updates the state of its flow, as the node's TCP does by
RFC 9293. In these cases the kernel's socket table is looked up:

- an unknown flow, since the guard may have started after the connection;
- a flow without segments for a while, since its socket may have been destroyed silently;
- data after the node's FIN, since the socket may refuse it;
- a fan-out copy, since its connection is to be reset.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nodes.guard.segment import Flags, Segment, advance, precedes, within
from nodes.guard.socket_lookup import SocketInfo
from nodes.guard.verdict import (
    FLOW_VALID_S,
    RECENT_S,
    RESET_INTERVAL_S,
    FlowInfo,
    Kind,
    Numbers,
    Status,
    kind_of,
)
from topologies.domain.connection import FourTuple

_V = TypeVar("_V")

#: Maximum number of flows and of recent actions. The least recently used are dropped,
#: and looked up in the kernel when they are needed again.
CAPACITY = 65536

#: How long each kind of action is remembered, in seconds.
_MEMORY_S = {
    Status.ABORTED: RECENT_S,
    Status.FREED: RECENT_S,
    Status.ANSWERED: RESET_INTERVAL_S,
    Status.RELAYED: RESET_INTERVAL_S,
}


@dataclass
class Flow:
    """A connection of the node. A number is None until a segment has shown it."""

    status: Status
    valid_until: float
    unacknowledged: int = 0
    snd_una: int | None = None
    snd_nxt: int | None = None
    rcv_nxt: int | None = None
    finished: bool = False

    @property
    def numbers(self) -> Numbers | None:
        """Its sequence variables, None unless all are known."""
        if self.snd_una is None or self.snd_nxt is None or self.rcv_nxt is None:
            return None
        return Numbers(self.snd_una, self.snd_nxt, self.rcv_nxt)

    def on_ingress(self, segment: Segment) -> None:
        """The node's TCP received ``segment``: SND.UNA and RCV.NXT may move up."""
        if segment.flags & Flags.ACK:
            self._was_acknowledged(segment.ack)
        if self.rcv_nxt is not None and _extends(segment, self.rcv_nxt):
            self.rcv_nxt = segment.end

    def _was_acknowledged(self, number: int) -> None:
        if self.status is Status.EMBRYONIC and number == self.snd_nxt:
            self.status = Status.CONNECTION
        if self.snd_una is None or self.snd_nxt is None:
            return
        if within(self.snd_una, number, self.snd_nxt):
            self.snd_una = number

    def on_egress(self, segment: Segment) -> None:
        """The node's TCP sent ``segment``: SND.NXT may move, its ACK is RCV.NXT."""
        if self.snd_nxt is None or precedes(self.snd_nxt, segment.end):
            self.snd_nxt = segment.end
        if self.snd_una is None:
            self.snd_una = advance(self.snd_nxt, -self.unacknowledged)
        if self.rcv_nxt is None or precedes(self.rcv_nxt, segment.ack):
            self.rcv_nxt = segment.ack
        self.finished |= bool(segment.flags & Flags.FIN)


class FlowState:
    """All flows of a node, and the node's recent actions on them.

    ``find`` looks a connection up in the kernel. ``now`` is any monotonic clock.
    """

    def __init__(
        self, find: Callable[[FourTuple], SocketInfo], now: Callable[[], float]
    ) -> None:
        self._find = find
        self._now = now
        self._flows: OrderedDict[FourTuple, Flow] = OrderedDict()
        #: For each kind of action: connection -> until when it is remembered. One table
        #: each, so that a flood of one kind does not push out another.
        self._recent: dict[Status, OrderedDict[FourTuple, float]] = {
            action: OrderedDict() for action in _MEMORY_S
        }
        #: Sequence numbers of the latest resets for strays.
        self._answers: OrderedDict[FourTuple, int] = OrderedDict()

    def info(self, segment: Segment) -> FlowInfo:
        """Status and numbers of the connection of an arriving segment."""
        connection = segment.ingress_connection
        flow = self._flows.get(connection)
        if flow is None or self._must_look_up(flow, segment):
            flow = self._look_up(connection, flow, segment)
        if flow is None:
            return FlowInfo(self._recent_action_for(segment))
        return FlowInfo(flow.status, flow.numbers)

    def on_ingress(self, segment: Segment) -> None:
        """An unmarked segment from the client has reached the node's TCP."""
        connection, kind = segment.ingress_connection, kind_of(segment)
        if kind is Kind.SYN:
            for table in self._recent.values():
                table.pop(connection, None)
        if kind in (Kind.RESET, Kind.ABORT):
            # TCP may ignore it (RFC 5961), so the next segment is looked up in the kernel.
            self._flows.pop(connection, None)
            self.record_action(connection, Status.RELAYED)
        elif connection in self._flows:
            self._flows[connection].on_ingress(segment)

    def on_egress(self, segment: Segment) -> None:
        """The node's TCP has sent ``segment``, so the flow exists."""
        connection, kind = segment.egress_connection, kind_of(segment)
        if kind in (Kind.RESET, Kind.ABORT):
            self.record_action(connection, Status.ABORTED)
            return
        if kind is Kind.SYN_ACK:
            self._adopt(connection, SocketInfo(Status.EMBRYONIC, unacknowledged=1))
        elif connection not in self._flows:
            self._adopt(connection, self._find(connection))
        if connection in self._flows:
            flow = self._flows[connection]
            flow.valid_until = self._now() + FLOW_VALID_S
            flow.on_egress(segment)

    def record_action(self, connection: FourTuple, action: Status) -> None:
        """Record that the node did that with it, and remove its flow.

        ``action``: one of ABORTED, FREED, ANSWERED, RELAYED; NOTHING records nothing.
        """
        self._flows.pop(connection, None)
        if action in _MEMORY_S:
            _put(self._recent[action], connection, self._now() + _MEMORY_S[action])

    def record_reset(self, stray: Segment, fanned_out: bool = True) -> None:
        """Record that ``stray`` was answered: by a reset that the switches fan out, or by
        another one within RESET_INTERVAL_S."""
        if fanned_out:
            self.record_action(stray.ingress_connection, Status.ANSWERED)
        _put(self._answers, stray.ingress_connection, stray.ack)

    def _recent_action_for(self, segment: Segment) -> Status:
        connection = segment.ingress_connection
        if kind_of(segment) in (Kind.RESET, Kind.ABORT):
            relayed = self._is_recent(Status.RELAYED, connection)
            return Status.RELAYED if relayed else self.recent_action(connection)
        action = self.recent_action(connection)
        if action is Status.ANSWERED and self._answers.get(connection) != segment.ack:
            # Another number: the client ignored the earlier reset.
            return Status.FANNED_OUT
        return action

    def recent_action(self, connection: FourTuple) -> Status:
        """The node's recent action on it: ABORTED, ANSWERED, FREED or NOTHING."""
        for action in (Status.ABORTED, Status.ANSWERED, Status.FREED):
            if self._is_recent(action, connection):
                return action
        return Status.NOTHING

    def was_freed(self, connection: FourTuple) -> bool:
        """Whether an accepted copy or relayed reset has freed it within RECENT_S."""
        return self._is_recent(Status.FREED, connection)

    def _is_recent(self, action: Status, connection: FourTuple) -> bool:
        return self._now() < self._recent[action].get(connection, 0.0)

    def _must_look_up(self, flow: Flow, segment: Segment) -> bool:
        refused = flow.finished and segment.length > 0
        from_switches = segment.marked or segment.relayed
        return from_switches or refused or self._now() >= flow.valid_until

    def _look_up(
        self, connection: FourTuple, flow: Flow | None, segment: Segment
    ) -> Flow | None:
        found = self._find(connection)
        if flow is None:
            return self._adopt(connection, found)
        if found.status is not Status.NOTHING:
            flow.status, flow.valid_until = found.status, self._now() + FLOW_VALID_S
            return flow
        if _may_be_in_cookie(flow, segment):
            return flow
        del self._flows[connection]
        if flow.finished and not (segment.marked or segment.relayed):
            return self._finish(connection, flow, segment)
        return None

    def _finish(
        self, connection: FourTuple, flow: Flow, segment: Segment
    ) -> Flow | None:
        """The socket was closed while the kernel processed this segment.

        Either the segment was the last acknowledgment. Or it was too late: the closed
        socket refused it, and the kernel's own reset is suppressed.
        """
        if not segment.length:
            return flow
        self.record_action(connection, Status.ABORTED)
        return None

    def _adopt(self, connection: FourTuple, found: SocketInfo) -> Flow | None:
        if found.status is Status.NOTHING:
            return None
        flow = Flow(found.status, self._now() + FLOW_VALID_S, found.unacknowledged)
        _put(self._flows, connection, flow)
        return flow


def _extends(segment: Segment, rcv_nxt: int) -> bool:
    """The segment begins at or before ``rcv_nxt`` and reaches beyond it."""
    return not precedes(rcv_nxt, segment.seq) and precedes(rcv_nxt, segment.end)


def _may_be_in_cookie(flow: Flow, segment: Segment) -> bool:
    """The connection may exist only as a SYN cookie, so the kernel must decide.

    This happens under a SYN flood, for segments that return the number of the cookie.
    """
    from_switches = segment.marked or segment.relayed
    if flow.status is not Status.EMBRYONIC or from_switches:
        return False
    return (segment.seq, segment.ack) == (flow.rcv_nxt, flow.snd_nxt)


def _put(table: OrderedDict[FourTuple, _V], key: FourTuple, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > CAPACITY:
        table.popitem(last=False)
