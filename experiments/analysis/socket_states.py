"""The lifetime of every TCP socket, from the probes' events: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.record.socket_events import (
    RESET_RECEIVED,
    RESET_SENT,
    STATE,
    SocketEvent,
)
from topologies.domain.connection import FourTuple

_CLOSING = frozenset(
    ("FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT")
)


@dataclass
class SocketLifetime:
    """The lifetime of one TCP socket. Times are CLOCK_REALTIME ns; None: not seen.

    ``host``: the host in whose network namespace the socket is. A node's socket begins
    with the last segment of the handshake (``tcp_v4_syn_recv_sock``), a client's with
    its SYN.
    """

    connection: FourTuple
    at_client: bool
    opened_ns: int | None = None
    established_ns: int | None = None
    #: The kernel accepted a RST for it (``tcp_reset`` in net/ipv4/tcp_input.c).
    reset_ns: int | None = None
    #: It sent a RST: its program aborted it.
    aborted_ns: int | None = None
    #: One end sent FIN.
    closing_ns: int | None = None
    #: The kernel freed its connection: state CLOSE.
    closed_ns: int | None = None
    host: str | None = None

    @property
    def first_ns(self) -> int:
        """When it was first seen to exist; 0 if it existed before the probes."""
        return self.opened_ns or 0

    @property
    def lost(self) -> bool:
        """Whether it ended without reset, abort or FIN: it timed out or was destroyed."""
        return self.closed_ns is not None and not (
            self.reset_ns or self.aborted_ns or self.closing_ns
        )


def socket_lifetimes(events: Iterable[SocketEvent]) -> list[SocketLifetime]:
    """The lifetime of every socket in the events, oldest first, listeners left out.

    The kernel reuses the address of a freed socket. A lifetime ends with CLOSE, and
    later events of the address belong to another socket. The exception is the RST of an
    abort, which follows CLOSE (``tcp_close`` sets the state first).
    """
    lifetimes: list[SocketLifetime] = []
    by_address: dict[int, SocketLifetime] = {}
    for event in events:
        if "LISTEN" in (event.new, event.old) and event.new != "SYN_RECV":
            continue
        lifetime = by_address.get(event.socket)
        if lifetime is None or not _continues(lifetime, event):
            lifetime = _begun(event)
            if lifetime is None:
                continue
            by_address[event.socket] = lifetime
            lifetimes.append(lifetime)
        _record(lifetime, event)
    return lifetimes


def _begun(event: SocketEvent) -> SocketLifetime | None:
    """A new lifetime; None if the event belongs to no connection's socket."""
    connection = event.connection
    if event.socket == 0 or connection is None or event.kind == RESET_SENT:
        return None  # a RST of no socket, or of a request that never became one
    if event.old == "CLOSE" and event.new != "SYN_SENT":
        return None  # the program closes a socket whose connection has ended already
    return SocketLifetime(connection, event.at_client, host=event.host or None)


def _continues(lifetime: SocketLifetime, event: SocketEvent) -> bool:
    if lifetime.connection != event.connection and lifetime.connection.sport != 0:
        return False  # 0: in SYN_SENT the client's port is not chosen yet
    return lifetime.closed_ns is None or event.kind == RESET_SENT


def _record(lifetime: SocketLifetime, event: SocketEvent) -> None:
    if lifetime.connection.sport == 0 and event.connection:
        lifetime.connection = event.connection
    if event.kind == RESET_RECEIVED:
        lifetime.reset_ns = event.time_ns
    elif event.kind == RESET_SENT:
        lifetime.aborted_ns = lifetime.aborted_ns or event.time_ns
    elif event.kind == STATE:
        _record_state(lifetime, event)


def _record_state(lifetime: SocketLifetime, event: SocketEvent) -> None:
    if event.new in ("SYN_SENT", "SYN_RECV"):
        lifetime.opened_ns = event.time_ns
    elif event.new == "ESTABLISHED":
        lifetime.established_ns = event.time_ns
        if event.old == "SYN_RECV" and lifetime.opened_ns is None:
            # Before Linux 6.18 this is the first event of a node's new socket.
            lifetime.opened_ns = event.time_ns
    elif event.new in _CLOSING:
        lifetime.closing_ns = lifetime.closing_ns or event.time_ns
    elif event.new == "CLOSE":
        lifetime.closed_ns = event.time_ns
