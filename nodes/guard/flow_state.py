"""The flow state of the reference guard: what a node knows, from what it has seen.

Each segment to or from the node moves the state of its flow, as RFC 9293 says what the
segment does at the node's TCP. What was not seen is asked of the kernel's own table:
an unknown flow (the guard may be younger than the connection), one that has been quiet
for a while (its socket may have been destroyed without a segment), one to which data
comes after the node has finished (its socket refuses it), one that is to be freed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nodes.guard.kernel_table import KernelView
from nodes.guard.segment import Flags, Segment, advance, precedes, within
from nodes.guard.verdict import (
    FLOW_VALID_S,
    RECENT_S,
    RESET_INTERVAL_S,
    Kind,
    Knowledge,
    Known,
    Numbers,
    kind_of,
)
from topologies.domain.connection import FourTuple

_V = TypeVar("_V")

#: Flows and deeds remembered; the longest untouched are forgotten, and asked for anew.
CAPACITY = 65536


@dataclass
class Flow:
    """A connection of the node. A number is None until a segment has told it."""

    known: Known
    believed_until: float
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

    def arrived(self, segment: Segment) -> None:
        """The node's TCP received ``segment``: SND.UNA and RCV.NXT may move up."""
        if segment.flags & Flags.ACK:
            self._was_acknowledged(segment.ack)
        if self.rcv_nxt is not None and _extends(segment, self.rcv_nxt):
            self.rcv_nxt = segment.end

    def _was_acknowledged(self, number: int) -> None:
        if self.known is Known.EMBRYONIC and number == self.snd_nxt:
            self.known = Known.CONNECTION
        if self.snd_una is None or self.snd_nxt is None:
            return
        if within(self.snd_una, number, self.snd_nxt):
            self.snd_una = number

    def left(self, segment: Segment) -> None:
        """The node's TCP sent ``segment``: SND.NXT may move, its ACK is RCV.NXT."""
        if self.snd_nxt is None or precedes(self.snd_nxt, segment.end):
            self.snd_nxt = segment.end
        if self.snd_una is None:
            self.snd_una = advance(self.snd_nxt, -self.unacknowledged)
        if self.rcv_nxt is None or precedes(self.rcv_nxt, segment.ack):
            self.rcv_nxt = segment.ack
        self.finished |= bool(segment.flags & Flags.FIN)


class FlowState:
    """All flows of a node, and for :data:`~nodes.guard.verdict.RECENT_S` what it did to them.

    ``ask`` looks a connection up in the kernel; ``now`` is any monotonic clock.
    """

    def __init__(
        self, ask: Callable[[FourTuple], KernelView], now: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._now = now
        self._flows: OrderedDict[FourTuple, Flow] = OrderedDict()
        self._deeds: OrderedDict[FourTuple, tuple[Known, float]] = OrderedDict()
        #: Sequence numbers of the latest answers to strays.
        self._answers: OrderedDict[FourTuple, int] = OrderedDict()

    def knowledge(self, segment: Segment) -> Knowledge:
        """What the node knows of the connection of an arriving segment."""
        connection = segment.arriving
        flow = self._flows.get(connection)
        if flow is None or self._is_in_doubt(flow, segment):
            flow = self._ask_kernel(connection, flow, segment)
        if flow is None:
            return Knowledge(self._deed_for(segment))
        return Knowledge(flow.known, flow.numbers)

    def arrived(self, segment: Segment) -> None:
        """An unmarked segment from the client has reached the node's TCP."""
        connection, kind = segment.arriving, kind_of(segment)
        if kind is Kind.SYN:
            self._deeds.pop(connection, None)
        if kind in (Kind.RESET, Kind.ABORT):
            # It may be believed or not (RFC 5961): the next segment asks the kernel.
            self._flows.pop(connection, None)
        elif connection in self._flows:
            self._flows[connection].arrived(segment)

    def left(self, segment: Segment) -> None:
        """The node's TCP has sent ``segment``: that flow exists."""
        connection, kind = segment.leaving, kind_of(segment)
        if kind in (Kind.RESET, Kind.ABORT):
            self.did(connection, Known.ABORTED)
            return
        if kind is Kind.SYN_ACK:
            self._adopt(connection, KernelView(Known.EMBRYONIC, unacknowledged=1))
        elif connection not in self._flows:
            self._adopt(connection, self._ask(connection))
        if connection in self._flows:
            flow = self._flows[connection]
            flow.believed_until = self._now() + FLOW_VALID_S
            flow.left(segment)

    def did(self, connection: FourTuple, deed: Known) -> None:
        """Remember that the node aborted, freed or disowned ``connection``; its flow is
        over."""
        memory_s = RESET_INTERVAL_S if deed is Known.ANSWERED else RECENT_S
        self._flows.pop(connection, None)
        _put(self._deeds, connection, (deed, self._now() + memory_s))

    def answered(self, stray: Segment) -> None:
        """Remember that the node said it does not recognise ``stray``."""
        self.did(stray.arriving, Known.ANSWERED)
        _put(self._answers, stray.arriving, stray.ack)

    def _deed_for(self, segment: Segment) -> Known:
        connection = segment.arriving
        deed = self.deed(connection)
        if deed is Known.ANSWERED and self._answers.get(connection) != segment.ack:
            return Known.NOTHING  # other words: the client did not take the answer
        return deed

    def deed(self, connection: FourTuple) -> Known:
        """What the node did to it lately: ABORTED, FREED, ANSWERED or NOTHING."""
        deed, until = self._deeds.get(connection, (Known.NOTHING, 0.0))
        return deed if self._now() < until else Known.NOTHING

    def _is_in_doubt(self, flow: Flow, segment: Segment) -> bool:
        refused = flow.finished and segment.length > 0
        return segment.marked or refused or self._now() >= flow.believed_until

    def _ask_kernel(
        self, connection: FourTuple, flow: Flow | None, segment: Segment
    ) -> Flow | None:
        view = self._ask(connection)
        if flow is None:
            return self._adopt(connection, view)
        if view.known is not Known.NOTHING:
            flow.known, flow.believed_until = view.known, self._now() + FLOW_VALID_S
            return flow
        if _may_be_in_cookie(flow, segment):
            return flow
        del self._flows[connection]
        if flow.finished and not segment.marked:
            return self._finish(connection, flow, segment)
        return None

    def _finish(
        self, connection: FourTuple, flow: Flow, segment: Segment
    ) -> Flow | None:
        """The socket went away while this segment was on its way through the kernel.

        Either by it: it was the last acknowledgment. Or it came too late: the socket
        was closed, refused it, and the kernel's own reset never leaves the node.
        """
        if not segment.length:
            return flow
        self.did(connection, Known.ABORTED)
        return None

    def _adopt(self, connection: FourTuple, view: KernelView) -> Flow | None:
        if view.known is Known.NOTHING:
            return None
        flow = Flow(view.known, self._now() + FLOW_VALID_S, view.unacknowledged)
        _put(self._flows, connection, flow)
        return flow


def _extends(segment: Segment, rcv_nxt: int) -> bool:
    """The segment begins at or before ``rcv_nxt`` and reaches beyond it."""
    return not precedes(rcv_nxt, segment.seq) and precedes(rcv_nxt, segment.end)


def _may_be_in_cookie(flow: Flow, segment: Segment) -> bool:
    """The kernel may hold the connection in a SYN cookie alone: it must decide.

    So it is under a SYN flood, for segments that bring back the number it gave out.
    """
    if flow.known is not Known.EMBRYONIC or segment.marked:
        return False
    return (segment.seq, segment.ack) == (flow.rcv_nxt, flow.snd_nxt)


def _put(table: OrderedDict[FourTuple, _V], key: FourTuple, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > CAPACITY:
        table.popitem(last=False)
