"""A client made of crafted segments, which brings a node's TCP into a wanted state."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

from nodes.guard.segment import Segment
from tests.nodes.namespace import CLIENTS, VIPS, Node, wait_for
from tests.nodes.packet_states import ACK, FIN, PSH, RST, SYN, Connection, State
from tests.nodes.wire import Caught, Wire
from topologies.domain.connection import FourTuple

#: The client's numbers wrap around zero in the middle of every test.
CLIENT_ISN = 2**32 - 2
#: RCV.NXT that is assumed for a connection that the node does not have.
UNKNOWN = (77_000, 5)


class Peer:
    """One connection between a crafted client and a real server on the node."""

    def __init__(self, node: Node, wire: Wire, ip: int, client_port: int) -> None:
        self.node, self.wire = node, wire
        self.listener = node.listen(ip)
        port = self.listener.getsockname()[1]
        self.tuple = FourTuple(CLIENTS[ip], client_port, VIPS[ip], port)
        self.connection = Connection(self.tuple, UNKNOWN[0], *UNKNOWN)
        self.server: socket.socket | None = None

    def bring_to(self, state: State) -> Connection:
        """Bring the connection to that state. Returns it as the node sees it."""
        getattr(self, f"_to_{state.name.lower()}")()
        return self.connection

    def reconnect(self) -> Connection:
        """Connect from the same port again, after this connection has ended."""
        return self.bring_to(State.ESTABLISHED)

    def send(self, segment: Segment) -> None:
        """Put a segment of the client on the wire."""
        self.wire.send(segment)

    def expect(self, flags: int) -> Caught:
        """The node's next segment of this connection with all of these flags."""

        def has_come(caught: list[Caught]) -> bool:
            return bool(caught) and self._is_mine(caught[-1], flags)

        return self.wire.catch_until(has_come)[-1]

    def close(self) -> None:
        """Leave no socket behind, nor anything on the wire."""
        self.listener.close()
        if self.server:
            _abort(self.server)

    def _is_mine(self, caught: Caught, flags: int) -> bool:
        segment = caught.segment
        return (
            segment.egress_connection == self.tuple and segment.flags & flags == flags
        )

    def _to_nothing(self) -> None:
        self.listener.close()

    def _to_listening(self) -> None:
        pass

    def _to_syn_received(self) -> None:
        self.send(replace(self.connection.segment(SYN), seq=CLIENT_ISN))
        isn = self.expect(SYN | ACK).segment.seq
        sent = (isn + 1) % 2**32
        self.connection = Connection(self.tuple, sent, sent, (CLIENT_ISN + 1) % 2**32)

    def _to_established(self) -> None:
        self._to_syn_received()
        self.send(self.connection.segment(ACK))
        self.server, _ = self.listener.accept()
        self.server.settimeout(10)
        self._client_sends(3)

    def _client_sends(self, octets: int) -> None:
        self.send(self.connection.segment(ACK | PSH, length=octets))
        after = (self.connection.rcv_nxt + octets) % 2**32
        self.connection = replace(self.connection, rcv_nxt=after)
        wait_for(lambda: self._readable() >= octets, "what the client sent")
        assert self.server
        self.server.recv(octets)

    def _readable(self) -> int:
        assert self.server
        try:
            return len(self.server.recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0

    def _to_unacknowledged(self) -> None:
        self._to_established()
        assert self.server
        self.server.send(bytes(1000))
        self.expect(PSH | ACK)
        after = (self.connection.snd_nxt + 1000) % 2**32
        self.connection = replace(self.connection, snd_nxt=after)

    def _to_hole(self) -> None:
        self._to_established()
        self.send(self.connection.segment(ACK | PSH, seq=700, length=700))
        # The duplicate acknowledgment: the segment was received, out of order.
        self.expect(ACK)

    def _to_fin_wait(self) -> None:
        self._to_established()
        assert self.server
        self.server.shutdown(socket.SHUT_WR)
        fin = self.expect(FIN).segment
        self.connection = replace(self.connection, snd_una=fin.end, snd_nxt=fin.end)
        self.send(self.connection.segment(ACK))
        self._wait_for_state("FIN-WAIT-2")

    def _to_close_wait(self) -> None:
        self._to_established()
        self._client_finishes()
        self._wait_for_state("CLOSE-WAIT")

    def _to_time_wait(self) -> None:
        self._to_fin_wait()
        self._client_finishes()
        self._wait_for_state("TIME-WAIT")
        assert self.server
        self.server.close()

    def _client_finishes(self) -> None:
        self.send(self.connection.segment(ACK | FIN))
        after = (self.connection.rcv_nxt + 1) % 2**32
        self.connection = replace(self.connection, rcv_nxt=after)

    def _to_aborted(self) -> None:
        self._to_established()
        assert self.server
        _abort(self.server)
        self.expect(RST | ACK)

    def _wait_for_state(self, state: str) -> None:
        wait_for(lambda: self.node.state_of(self.tuple) == state, state)


def _abort(connection: socket.socket) -> None:
    """Close with a reset (SO_LINGER with no time to linger)."""
    if connection.fileno() >= 0:
        lingering = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        connection.close()
