"""The states that packet tests start from, and a connection's numbers in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import Status
from topologies.domain.connection import FourTuple

ACK, PSH, RST, SYN, FIN = Flags.ACK, Flags.PSH, Flags.RST, Flags.SYN, Flags.FIN


class State(Enum):
    """What the node holds when the row's packet arrives."""

    NOTHING = "nothing, and the port is closed"
    LISTENING = "nothing but a listening socket"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    UNACKNOWLEDGED = "ESTABLISHED with 1000 octets unacknowledged"
    HOLE = "ESTABLISHED with a segment missing before what was received"
    FIN_WAIT = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    TIME_WAIT = "TIME-WAIT"
    ABORTED = "nothing: the application has just aborted the connection"


#: State -> status of the connection for a guard.
STATUS = {
    State.NOTHING: Status.NOTHING,
    State.LISTENING: Status.NOTHING,
    State.SYN_RECEIVED: Status.EMBRYONIC,
    State.ESTABLISHED: Status.CONNECTION,
    State.UNACKNOWLEDGED: Status.CONNECTION,
    State.HOLE: Status.CONNECTION,
    State.FIN_WAIT: Status.CONNECTION,
    State.CLOSE_WAIT: Status.CONNECTION,
    State.TIME_WAIT: Status.TIME_WAIT,
    State.ABORTED: Status.ABORTED,
}


@dataclass(frozen=True)
class Connection:
    """A connection with the node's variables (RFC 9293, 3.3.1).

    Where the node holds nothing, the numbers are those it would expect.
    """

    tuple: FourTuple
    snd_una: int
    snd_nxt: int
    rcv_nxt: int

    def segment(
        self, flags: Flags, seq: int = 0, ack: int = 0, length: int = 0
    ) -> Segment:
        """From the client: ``seq`` counts from RCV.NXT, ``ack`` from SND.NXT."""
        return Segment(
            src=self.tuple.src,
            dst=self.tuple.dst,
            sport=self.tuple.sport,
            dport=self.tuple.dport,
            seq=(self.rcv_nxt + seq) % 2**32,
            ack=(self.snd_nxt + ack) % 2**32 if flags & ACK else 0,
            flags=flags,
            length=length,
        )

    def copy(self, seq: int = 0, ack: int = 0, flags: Flags = RST) -> Segment:
        """A fan-out copy; ``seq`` counts from SND.NXT, ``ack`` from RCV.NXT."""
        return replace(
            self.segment(flags),
            seq=(self.snd_nxt + seq) % 2**32,
            ack=(self.rcv_nxt + ack) % 2**32,
            marked=True,
        )
