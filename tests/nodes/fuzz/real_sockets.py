"""Sockets with chosen states and numbers, in a real kernel (tcp(7), ``TCP_REPAIR``)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from nodes.guard.scapy_frames import build_frame
from nodes.guard.segment import Flags, Segment, advance
from nodes.guard.socket_lookup import SocketLookup
from nodes.guard.verdict import Numbers, Status
from tests.nodes.fuzz.imagined import STATUS, Holding, Peer, world_of
from tests.nodes.fuzz.oracle import World
from tests.nodes.fuzz.raw_frames import read_frame
from tests.nodes.fuzz.tap import Tap
from topologies.domain.connection import FourTuple

# linux/tcp.h
_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ, _REPAIR_WINDOW = 19, 20, 21, 29
#: struct tcp_repair_window: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
_WINDOW = struct.Struct("=5I")
_WINDOW_OCTETS = 1 << 16
_OFF_WITHOUT_PROBE, _ON = -1, 1
_RECEIVE_QUEUE, _SEND_QUEUE = 1, 2
_SO_SNDBUFFORCE = 32
_SEND_BUFFER = 1 << 20
_BACKLOG = 4096
_ALWAYS, _UNDER_A_FLOOD = "2", "1"

_ACK, _FIN, _SYN = Flags.ACK, Flags.FIN, Flags.SYN
_CLIENT_MAC = "02:01:00:00:00:07"

#: Those whose node has sent a FIN, and those whose client has.
_CLOSED_BY_NODE = {
    Holding.FIN_WAIT_1,
    Holding.FIN_WAIT_2,
    Holding.LAST_ACK,
    Holding.TIME_WAIT,
}
_CLOSED_BY_CLIENT = {Holding.CLOSE_WAIT, Holding.LAST_ACK, Holding.TIME_WAIT}
#: Those whose client has acknowledged it, too.
_ACKNOWLEDGED = {Holding.FIN_WAIT_2, Holding.TIME_WAIT}


class RealSockets:
    """The sockets of some peers, made in this namespace, whose client is behind ``tap``."""

    def __init__(self, peers: Sequence[Peer], tap: Tap, mac: str) -> None:
        """Raises :class:`AssertionError` where a state was not reached."""
        self._tap, self._mac = tap, mac
        self._lookup = SocketLookup()
        self._listeners = [
            _listener(peer.tuple) for peer in peers if peer.holding is Holding.LISTENER
        ]
        self._sockets: list[socket.socket] = []
        self._cookies: dict[FourTuple, tuple[int, int]] = {}
        #: As they were wanted, but with the numbers that the kernel chose.
        self.peers = [self._made(peer) for peer in peers]
        self.world: World = world_of(self.peers, self._cookies)
        assert not self.changed(), self.changed()

    def changed(self) -> list[str]:
        """The connections that are not, or no longer, in their state."""
        return [
            f"{peer.tuple}: {peer.holding.name}, found {found.name}"
            for peer in self.peers
            if (found := self._lookup.find(peer.tuple).status)
            is not STATUS.get(peer.holding, Status.CONNECTION)
        ]

    def close(self) -> None:
        """Remove them, without a word to their clients."""
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
            each.close()
        for listener in self._listeners:
            listener.close()
        self._tap.read()

    def _made(self, peer: Peer) -> Peer:
        if peer.holding is Holding.COOKIE:
            return self._with_cookie(peer)
        if peer.holding is Holding.SYN_RECEIVED:
            self._send(peer.tuple, _SYN, advance(peer.numbers.rcv_nxt, -1))
        elif STATUS.get(peer.holding) is not Status.NOTHING:
            self._connect(peer)
        return peer

    def _connect(self, peer: Peer) -> None:
        """The connection as it is before any FIN, and then the FINs."""
        numbers, holding = peer.numbers, peer.holding
        snd_una = advance(numbers.snd_una, -(holding in _ACKNOWLEDGED))
        rcv_nxt = advance(numbers.rcv_nxt, -(holding in _CLOSED_BY_CLIENT))
        opened = _repaired(peer.tuple, snd_una, rcv_nxt)
        self._sockets.append(opened)
        if holding is Holding.ESTABLISHED:
            _fill(opened, (numbers.snd_nxt - numbers.snd_una) % (1 << 32))
            return
        opened.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF_WITHOUT_PROBE)
        closes_first = holding is not Holding.LAST_ACK
        if holding in _CLOSED_BY_NODE and closes_first:
            opened.shutdown(socket.SHUT_WR)
        if holding in _ACKNOWLEDGED:
            self._send(peer.tuple, _ACK, rcv_nxt, numbers.snd_nxt)
        if holding in _CLOSED_BY_CLIENT:
            self._send(peer.tuple, _ACK | _FIN, rcv_nxt, numbers.snd_una)
        if holding in _CLOSED_BY_NODE and not closes_first:
            opened.shutdown(socket.SHUT_WR)

    def _with_cookie(self, peer: Peer) -> Peer:
        rcv_nxt = peer.numbers.rcv_nxt
        self._tap.read()
        _set_cookies(_ALWAYS)
        self._send(peer.tuple, _SYN, advance(rcv_nxt, -1))
        _set_cookies(_UNDER_A_FLOOD)
        sent = [read_frame(frame) for _, frame in self._tap.read()]
        (answer,) = (
            segment
            for segment in sent
            if segment and segment.egress_connection == peer.tuple
        )
        after = advance(answer.seq, 1)
        self._cookies[peer.tuple] = (rcv_nxt, after)
        return peer._replace(numbers=Numbers(after, after, rcv_nxt))

    def _send(self, ends: FourTuple, flags: Flags, seq: int, ack: int = 0) -> None:
        src, sport, dst, dport = ends
        segment = Segment(src, dst, sport, dport, seq, ack, flags)
        self._tap.write(build_frame(segment, _CLIENT_MAC, self._mac))


def _listener(ends: FourTuple) -> socket.socket:
    listener = socket.socket(_family(ends), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ends.dst, ends.dport))
    listener.listen(_BACKLOG)
    return listener


def _family(ends: FourTuple) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ends.dst else socket.AF_INET


def _repaired(ends: FourTuple, snd_una: int, rcv_nxt: int) -> socket.socket:
    """A connection in ESTABLISHED that never sent a segment."""
    made = socket.socket(_family(ends), socket.SOCK_STREAM)
    made.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
    made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER)
    made.bind((ends.dst, ends.dport))
    for queue, number in ((_SEND_QUEUE, snd_una), (_RECEIVE_QUEUE, rcv_nxt)):
        made.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, queue)
        made.setsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ, struct.pack("=I", number))
    made.connect((ends.src, ends.sport))
    window = _WINDOW.pack(rcv_nxt, *[_WINDOW_OCTETS] * 3, rcv_nxt)
    made.setsockopt(socket.IPPROTO_TCP, _REPAIR_WINDOW, window)
    return made


def _fill(made: socket.socket, octets: int) -> None:
    """Let it hold that many octets as sent and not acknowledged."""
    made.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, _SEND_QUEUE)
    if octets:
        sent = made.send(bytes(octets))
        assert sent == octets, f"{sent} of {octets} octets"


def _set_cookies(when: str) -> None:
    Path("/proc/sys/net/ipv4/tcp_syncookies").write_text(when)
