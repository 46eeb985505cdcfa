"""The two ends of a TCP connection, as far as resets and keepalives concern them; pure.

An end takes a segment and answers with segments. Data is a number of octets. What is left
out: FIN, TIME-WAIT, options, and windows that close.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from nodes.guard.segment import Flags, Segment, advance, distance, within
from nodes.guard.verdict import FlowInfo, Numbers, Status
from topologies.domain.connection import FourTuple

#: Of both ends, in octets; far smaller than the guards' SEQUENCE_SLACK.
WINDOW = 1 << 16
#: ``net.ipv4.tcp_invalid_ratelimit``, in seconds.
REPEAT_S = 0.5


class Violation(AssertionError):
    """Something that must never happen."""


class State(Enum):
    """Of an end; those of a server's end are also the guard's words."""

    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    ENDED = "ended"


@dataclass
class End:
    """One end. ``there``: addresses of what it sends. ``number``: of its connection.

    ``heard_s``: when an acceptable acknowledgment last came. ``is_server``: a client's end
    has sent the SYN.
    """

    number: int
    there: FourTuple
    is_server: bool
    state: State
    una: int
    nxt: int
    rcv: int = 0
    heard_s: float = 0.0
    _repeated_s: float = float("-inf")

    @property
    def info(self) -> FlowInfo:
        """What a guard sees of it: a request shows no numbers."""
        if self.state is State.SYN_RECEIVED:
            return FlowInfo(Status.EMBRYONIC)
        return FlowInfo(Status.CONNECTION, Numbers(self.una, self.nxt, self.rcv))

    def segment(self, flags: Flags = Flags.ACK, length: int = 0) -> Segment:
        """One at SND.NXT."""
        ack = self.rcv if flags & Flags.ACK else 0
        src, sport, dst, dport = self.there
        return Segment(src, dst, sport, dport, self.nxt, ack, flags, length)

    def opening(self) -> Segment:
        """Its SYN or SYN|ACK, also again."""
        flags = Flags.SYN | Flags.ACK if self.is_server else Flags.SYN
        return replace(self.segment(flags), seq=advance(self.nxt, -1))

    def send(self, length: int) -> Segment:
        """Data."""
        sent = self.segment(length=length)
        self.nxt = advance(self.nxt, length)
        return sent

    def again(self) -> Segment | None:
        """What its peer has not acknowledged; None if there is nothing."""
        if self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            return self.opening()
        missing = distance(self.una, self.nxt)
        return replace(self.segment(length=missing), seq=self.una) if missing else None

    def abort(self) -> Segment:
        """Ends it, as SO_LINGER 0 does; before it is open, in silence for nobody."""
        self.state = State.ENDED
        return self.segment(Flags.RST | Flags.ACK)

    def take(self, got: Segment, now_s: float) -> list[Segment]:
        """Takes a segment. What it answers; it may have ended then."""
        if self.state is State.SYN_SENT:
            return self._take_first(got, now_s)
        if got.flags & Flags.RST:
            return self._take_reset(got, now_s)
        if got.flags & Flags.SYN:  # RFC 5961, 4.2
            again = self.state is State.SYN_RECEIVED and got.end == self.rcv
            return [self.opening()] if again else self._repeat(got, now_s)
        if not got.flags & Flags.ACK or not self._is_near(got):
            is_open = self.state is State.ESTABLISHED
            return self._repeat(got, now_s) if is_open else []
        if not within(self.una, got.ack, self.nxt):
            if self.state is State.SYN_RECEIVED:
                return [_reset_for(got)]
            return self._repeat(got, now_s)
        return self._take_acknowledged(got, now_s)

    def _repeat(self, got: Segment, now_s: float) -> list[Segment]:
        """Where it is, once in a while: else two ends would tell each other for ever
        (``tcp_oow_rate_limited``; data are answered always)."""
        if not got.length:
            if now_s - self._repeated_s < REPEAT_S:
                return []
            self._repeated_s = now_s
        return [self.segment()]

    def _take_acknowledged(self, got: Segment, now_s: float) -> list[Segment]:
        if self.state is State.SYN_RECEIVED and got.ack != self.nxt:
            return [_reset_for(got)]
        self.state, self.una, self.heard_s = State.ESTABLISHED, got.ack, now_s
        fresh = distance(self.rcv, got.end)
        if within(got.seq, self.rcv, got.end) and fresh > 0:
            self.rcv = got.end
        old = got.seq != self.rcv and not got.length
        return self._repeat(got, now_s) if got.length or old else []

    def _take_first(self, got: Segment, now_s: float) -> list[Segment]:
        """RFC 9293, 3.10.7.3."""
        fits = bool(got.flags & Flags.ACK) and got.ack == self.nxt
        if got.flags & Flags.RST:
            self.state = State.ENDED if fits else self.state
            return []
        if got.flags & Flags.ACK and not fits:
            return [_reset_for(got)]
        if not got.flags & Flags.SYN or not fits:
            return []
        self.state, self.una, self.rcv = State.ESTABLISHED, self.nxt, got.end
        self.heard_s = now_s
        return [self.segment()]

    def _take_reset(self, got: Segment, now_s: float) -> list[Segment]:
        """RFC 5961, 3.2; a request's window is enough (``tcp_check_req``)."""
        ahead = distance(self.rcv, got.seq)
        if ahead == 0 or (self.state is State.SYN_RECEIVED and 0 <= ahead < WINDOW):
            self.state = State.ENDED
            return []
        challenged = self.state is State.ESTABLISHED and 0 < ahead < WINDOW
        return self._repeat(got, now_s) if challenged else []

    def _is_near(self, got: Segment) -> bool:
        """Whether some of it lies in the window, or it is a keepalive or a repetition."""
        first, last = distance(self.rcv, got.seq), distance(self.rcv, got.end)
        return -WINDOW < first < WINDOW and -WINDOW < last < WINDOW


def refuse(got: Segment) -> Segment | None:
    """What a TCP without the connection answers (RFC 9293, 3.10.7.1)."""
    return _reset_for(got) if not got.flags & Flags.RST else None


def _reset_for(got: Segment) -> Segment:
    back = (got.dst, got.src, got.dport, got.sport)
    if got.flags & Flags.ACK:
        return Segment(*back, got.ack, 0, Flags.RST)
    return Segment(*back, 0, got.end, Flags.RST | Flags.ACK)
