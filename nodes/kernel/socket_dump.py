"""Lists the TCP connections of a network namespace, and when each was last heard of.

A dump of sock_diag(7) with ``struct tcp_info``. The structures are parsed here, without a
library, for speed: a healer reads every node several times a second.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from nodes.kernel.sock_diag import (
    ERROR,
    NLM_F_REQUEST,
    NLMSG,
    NLMSG_ERROR,
    TIME_WAIT_TIMER,
    SockDiagError,
    open_socket,
)
from topologies.domain.connection import VIPS, FourTuple

_NLM_F_DUMP = 0x300
_NLMSG_DONE = 3
_SOCK_DIAG_BY_FAMILY = 20
#: struct inet_diag_req_v2 with an empty socket id.
_REQUEST = struct.Struct("=BBBxI48x")
#: struct inet_diag_msg: family, state, timer, retransmissions; ports, addresses, interface,
#: cookie; expiry, queues, user, inode.
_MESSAGE = struct.Struct("=BBBB2s2s16s16sIIIIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_INET_DIAG_INFO = 2
#: struct tcp_info: ``tcpi_last_data_recv`` and ``tcpi_last_ack_recv``, in ms.
_LAST_RECEIVED = struct.Struct("=52xII")
#: Each socket in a state of a connection: all but LISTEN, CLOSE, SYN_SENT and TIME_WAIT
#: (include/net/tcp_states.h; 12 is NEW_SYN_RECV, shown as SYN_RECV).
_STATES = sum(1 << state for state in (1, 3, 4, 5, 8, 9, 11, 12))
_ANSWER_OCTETS = 1 << 17


class Listed(NamedTuple):
    """One connection. ``silent_s``: time since its client's last segment, None if the
    kernel does not say: its handshake is not complete. ``cookie``: the socket's."""

    connection: FourTuple
    silent_s: float | None
    cookie: int


class SocketDump:
    """Dumps of the network namespace in which it was created."""

    def __init__(self) -> None:
        self._socket = open_socket()

    def connections(self) -> Iterator[Listed]:
        """Every connection to the virtual address that the namespace holds now.

        Raises :class:`~nodes.kernel.sock_diag.SockDiagError` if the kernel refuses.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(
                family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), _STATES
            )
            flags = NLM_F_REQUEST | _NLM_F_DUMP
            size = NLMSG.size + len(body)
            self._socket.send(
                NLMSG.pack(size, _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + body
            )
            yield from self._answers()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _answers(self) -> Iterator[Listed]:
        while True:
            answer = self._socket.recv(_ANSWER_OCTETS)
            at = 0
            while at < len(answer):
                size, kind, *_ = NLMSG.unpack_from(answer, at)
                if kind == _NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    (code,) = ERROR.unpack_from(answer, at + NLMSG.size)
                    name = errno.errorcode.get(-code, str(code))
                    raise SockDiagError(f"sock_diag dump: {name}")
                listed = _listed(answer, at + NLMSG.size, at + size)
                if listed:
                    yield listed
                at += _aligned(size)


def _listed(answer: bytes, start: int, end: int) -> Listed | None:
    """The connection of one message; None if it is not to the virtual address, or over."""
    family, _, timer, _, sport, dport, source, destination, _, low, high, *_ = (
        _MESSAGE.unpack_from(answer, start)
    )
    vip = _address(family, source)
    if vip not in VIPS or timer == TIME_WAIT_TIMER:
        return None
    client = _address(family, destination)
    connection = FourTuple(
        *(client, int.from_bytes(dport, "big"), vip, int.from_bytes(sport, "big"))
    )
    silent_s = _silent_s(answer, start + _MESSAGE.size, end)
    return Listed(connection, silent_s, high << 32 | low)


def _silent_s(answer: bytes, at: int, end: int) -> float | None:
    while at + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _INET_DIAG_INFO:
            if size < _ATTRIBUTE.size + _LAST_RECEIVED.size:
                return None
            data_ms, ack_ms = _LAST_RECEIVED.unpack_from(answer, at + _ATTRIBUTE.size)
            return float(min(data_ms, ack_ms)) / 1e3
        at += _aligned(max(size, _ATTRIBUTE.size))
    return None


def _address(family: int, octets: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntoa(octets[:4])
    address = IPv6Address(octets)
    return str(address.ipv4_mapped or address)


def _aligned(size: int) -> int:
    """NLMSG_ALIGN and RTA_ALIGN: to four octets."""
    return (size + 3) & ~3
