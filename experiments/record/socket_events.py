"""Events of TCP sockets: read from the reports of ``sockets.bpf.c``, kept in a file."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from topologies.domain.connection import VIPS, FourTuple, connection_of

STATE = "state"
RESET_RECEIVED = "reset-received"
RESET_SENT = "reset-sent"

#: ``enum kind`` of ``sockets.bpf.c``: number -> name.
_KINDS = {1: STATE, 2: RESET_RECEIVED, 3: RESET_SENT}
#: Layout of its ``struct report``.
REPORT = struct.Struct("=QQIHHBBBB16s16s4x")

#: TCP states by number, ``enum`` in include/net/tcp_states.h.
STATES = (
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
)


class SocketEvent(NamedTuple):
    """One event. ``socket``: the socket's address in the kernel, 0 without a socket.

    ``time_ns``: CLOCK_REALTIME. ``host``: the host in whose network namespace the socket
    is. ``local`` and ``remote``: (address, port) as seen by that socket. ``old`` and
    ``new``: names of :data:`STATES`, empty unless ``kind`` is :data:`STATE`. The kernel
    may reuse the address of a socket for another one later.
    """

    time_ns: int
    kind: str
    socket: int
    local: tuple[str, int]
    remote: tuple[str, int]
    old: str = ""
    new: str = ""
    host: str = ""

    @property
    def connection(self) -> FourTuple | None:
        """The connection it belongs to; None if neither end is the VIP."""
        return connection_of(*self.local, *self.remote)

    @property
    def at_client(self) -> bool:
        """Whether it is a client's socket, not a node's."""
        return self.remote[0] in VIPS

    def to_line(self) -> str:
        """As one line of JSON, with its newline."""
        return json.dumps(self) + "\n"

    @classmethod
    def from_line(cls, line: str) -> SocketEvent:
        """The event of a line of :meth:`to_line`. Raises :class:`ValueError`."""
        time_ns, kind, number, local, remote, *rest = json.loads(line)
        return cls(time_ns, kind, number, tuple(local), tuple(remote), *rest)


def read_socket_events(path: str) -> Iterator[SocketEvent]:
    """The events that :mod:`experiments.instruments.probes` wrote, in the order of time."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield SocketEvent.from_line(line)


def event_of(
    report: tuple[Any, ...], offset_ns: int, hosts: Mapping[int, str]
) -> SocketEvent:
    """The event of an unpacked :data:`REPORT`.

    ``offset_ns``: CLOCK_REALTIME - CLOCK_MONOTONIC. ``hosts``: network namespace (its
    inode number) -> host. The host of any other namespace is "".
    """
    time_ns, number, namespace, *ports, kind, old, new, family, local, remote = report
    is_state = _KINDS[kind] == STATE
    return SocketEvent(
        time_ns + offset_ns,
        _KINDS[kind],
        number,
        (_address(family, local), ports[0]),
        (_address(family, remote), ports[1]),
        STATES[old] if is_state else "",
        STATES[new] if is_state else "",
        hosts.get(namespace, ""),
    )


@lru_cache(maxsize=1024)
def _address(family: int, packed: bytes) -> str:
    """An address as text. An IPv4-mapped IPv6 address becomes an IPv4 address."""
    if family == socket.AF_INET:
        return socket.inet_ntoa(packed[:4])
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
