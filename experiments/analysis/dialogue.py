"""How long the client of one TCP connection waited, by the segments at its port: pure.

================ =====================================================================
answered         the server's next bytes arrived in order and acknowledge the request
wait             from the first segment of an unanswered request until it is answered. A
                 request that an answer does not acknowledge continues to wait, from its
                 own first segment
amid an answer   a segment without PSH (RFC 9293, 3.9.1.2: more data follows), or one that
                 leaves a gap, is a partial answer. If the wait for the rest was longer
                 than the wait for the first part, it replaces it
half-closed      a client that has shut down its side waits for the server's next bytes
================ =====================================================================

A retransmission of a request, in part or whole, is the same request. A retransmission of
an answer is no answer. Data that a server sends without a request ends no wait. The
protocol above TCP is unknown: a client's reply to a request of the server counts as a
request, and of several requests that one answer acknowledges the first one counts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_HALF, _MASK = 1 << 31, (1 << 32) - 1


class Wait(NamedTuple):
    """One wait, CLOCK_REALTIME ns. Not ``over``: it lasted beyond the observation."""

    begin_ns: int
    end_ns: int
    over: bool = True

    @property
    def length_ns(self) -> int:
        """Its length, as far as it was observed."""
        return self.end_ns - self.begin_ns


class Dialogue:
    """The segments of one client socket, in the order of time, and its waits.

    Sequence numbers are unwrapped beyond 32 bits.
    """

    __slots__ = (
        "_acked",
        "_early",
        "_received_ns",
        "_pushed",
        "_read",
        "_requests",
        "_sent",
        "_server_shut",
        "_shut",
        "_unfinished_ns",
        "_waits",
        "began_ns",
        "isn",
    )

    def __init__(self, began_ns: int, isn: int) -> None:
        """``isn``: the sequence number of the client's SYN, first seen at ``began_ns``."""
        self.began_ns, self.isn = began_ns, isn
        self._sent = self._acked = isn + 1
        #: The server's next byte in order, and the byte after the last PSH.
        self._read: int | None = None
        self._pushed = 0
        #: Segments that arrived ahead of it: (first byte, byte after the last).
        self._early: list[tuple[int, int]] = []
        #: Unanswered requests: (byte after the last, time of sending).
        self._requests: deque[tuple[int, int]] = deque()
        self._unfinished_ns: int | None = None
        self._received_ns = began_ns
        self._shut = self._server_shut = False
        self._waits: list[Wait] = []

    def syn_ack(self, seq: int) -> None:
        """The server's SYN,ACK."""
        if self._read is None:
            self._read = self._pushed = seq + 1

    def client_segment(
        self, time_ns: int, seq: int, length: int, fin: bool = False
    ) -> None:
        """A segment of the client with ``length`` bytes of data."""
        end = _unwrapped(self._sent, seq) + length
        if end > self._sent:
            self._sent = end
            self._requests.append((end, time_ns))
            self._unfinished_ns = None
        if fin and not self._shut:
            self._shut = True
            self._received_ns = time_ns

    def server_segment(
        self,
        time_ns: int,
        seq: int,
        ack: int,
        length: int,
        pushed: bool = True,
        fin: bool = False,
    ) -> None:
        """A segment of the server to the client. FIN counts as one byte."""
        self._acked = max(self._acked, _unwrapped(self._acked, ack))
        start = seq if self._read is None else _unwrapped(self._read, seq)
        end = start + length + fin
        if pushed or fin:
            self._pushed = max(self._pushed, end)
        if self._delivers(start, end):
            self._progress(time_ns, length)
            self._server_shut = self._server_shut or fin
            if self._pushed >= end and not self._early:
                return
        elif not self._early:
            return
        if self._unfinished_ns is None and not self._requests:
            self._unfinished_ns = time_ns

    def waits(self, until_ns: int, ended: bool) -> list[Wait]:
        """Every wait. The last one, if it lasts, is cut at ``until_ns``.

        ``ended``: the client's socket ended then, and its wait with it.
        """
        begin = self._unfinished_ns
        if self._requests:
            begin = self._requests[0][1]
        elif self._shut and not self._server_shut:
            begin = self._received_ns
        if begin is None or (ended and not self._requests):
            return self._waits
        return [*self._waits, Wait(begin, max(begin, until_ns), ended)]

    def _delivers(self, start: int, end: int) -> bool:
        """Whether these bytes continue those in order. Early ones are kept for later."""
        if self._read is None:  # its SYN,ACK was not captured
            self._read = start
        if end <= self._read:
            return False
        if start > self._read:
            self._early.append((start, end))
            return False
        self._read = end
        if self._early:
            self._deliver_early()
        return True

    def _deliver_early(self) -> None:
        assert self._read is not None
        remaining = []
        for start, end in sorted(self._early):
            if start <= self._read:
                self._read = max(self._read, end)
            else:
                remaining.append((start, end))
        self._early = remaining

    def _progress(self, time_ns: int, length: int) -> None:
        """New bytes have arrived in order, ``length`` of them data."""
        unfinished, self._unfinished_ns = self._unfinished_ns, None
        if unfinished is not None:
            rest = Wait(unfinished, time_ns)
            answer = self._waits.pop() if self._waits else rest
            self._waits.append(max(answer, rest, key=lambda wait: wait.length_ns))
        requests = self._requests
        if requests and requests[0][0] <= self._acked:
            self._waits.append(Wait(requests[0][1], time_ns))
            while requests and requests[0][0] <= self._acked:
                requests.popleft()
        elif self._shut and length:
            self._waits.append(Wait(self._received_ns, time_ns))
        self._received_ns = time_ns


def _unwrapped(near: int, number: int) -> int:
    """A 32-bit sequence number, unwrapped to the value nearest to ``near``."""
    if number == near:  # most often
        return near
    return near + ((number - near + _HALF) & _MASK) - _HALF
