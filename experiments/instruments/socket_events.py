"""What the kernel reported of a TCP socket: one record, from tracepoint and to file."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from controller.ovs_hash import FourTuple
from experiments.analysis.connection import VIPS, connection_of
from experiments.instruments.tracepoint import Tracepoint

STATE = "state"
RESET_RECEIVED = "reset-received"
RESET_SENT = "reset-sent"

#: Name of each tracepoint -> what it reports.
TRACEPOINTS = {
    "sock:inet_sock_set_state": STATE,
    "tcp:tcp_receive_reset": RESET_RECEIVED,
    "tcp:tcp_send_reset": RESET_SENT,
}

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
    """One report. ``socket`` is the socket's address in the kernel, 0 where it has none.

    ``time_ns`` is CLOCK_REALTIME. ``local`` and ``remote`` are (address, port) as that
    socket sees them; ``old`` and ``new`` are names of :data:`STATES`, empty unless
    ``kind`` is :data:`STATE`. An address can be another socket's later on.
    """

    time_ns: int
    kind: str
    socket: int
    local: tuple[str, int]
    remote: tuple[str, int]
    old: str = ""
    new: str = ""

    @property
    def connection(self) -> FourTuple | None:
        """The connection it belongs to, ``None`` where neither end is the VIP."""
        return connection_of(*self.local, *self.remote)

    @property
    def at_client(self) -> bool:
        """Whether it is the client's socket, not a node's."""
        return self.remote[0] in VIPS

    def to_line(self) -> str:
        """As one line of JSON, with its newline."""
        return json.dumps(self) + "\n"

    @classmethod
    def from_line(cls, line: str) -> SocketEvent:
        """What :meth:`to_line` wrote. Raises :class:`ValueError`."""
        time_ns, kind, number, local, remote, old, new = json.loads(line)
        return cls(time_ns, kind, number, tuple(local), tuple(remote), old, new)


def read_socket_events(path: str) -> Iterator[SocketEvent]:
    """The events that :mod:`experiments.instruments.probes` wrote, in the order of their times."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield SocketEvent.from_line(line)


def decoder(tracepoint: Tracepoint) -> Callable[[int, bytes], SocketEvent]:
    """The function (CLOCK_REALTIME ns, record) -> event for that tracepoint."""
    kind = TRACEPOINTS[tracepoint.name]
    fields = tracepoint.fields
    number = fields["skaddr"].number_of
    ends = _ends_from_ports if "sport" in fields else _ends_from_sockaddrs
    old, new = fields.get("oldstate"), fields.get("newstate")

    def decode(time_ns: int, record: bytes) -> SocketEvent:
        local, remote = ends(tracepoint, record)
        states = (
            (STATES[old.number_of(record)], STATES[new.number_of(record)])
            if old and new
            else ("", "")
        )
        return SocketEvent(time_ns, kind, number(record), local, remote, *states)

    return decode


def _ends_from_ports(
    of: Tracepoint, record: bytes
) -> tuple[tuple[str, int], tuple[str, int]]:
    """From ports in host order and IPv6 addresses: IPv4 ones stand there as mapped."""
    fields = of.fields
    return (
        (
            _address(fields["saddr_v6"].bytes_of(record)),
            fields["sport"].number_of(record),
        ),
        (
            _address(fields["daddr_v6"].bytes_of(record)),
            fields["dport"].number_of(record),
        ),
    )


def _ends_from_sockaddrs(
    of: Tracepoint, record: bytes
) -> tuple[tuple[str, int], tuple[str, int]]:
    """From two ``struct sockaddr``: tcp_send_reset since Linux 6.10."""
    return (
        _sockaddr(of.fields["saddr"].bytes_of(record)),
        _sockaddr(of.fields["daddr"].bytes_of(record)),
    )


def _sockaddr(raw: bytes) -> tuple[str, int]:
    family = int.from_bytes(raw[:2], sys.byteorder)
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET6:
        return _address(raw[8:24]), port
    return str(ip_address(raw[4:8])), port


def _address(packed: bytes) -> str:
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
