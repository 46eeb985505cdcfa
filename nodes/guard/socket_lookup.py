"""Looks up one TCP connection in the kernel of this network namespace (sock_diag(7))."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from nodes.guard.guard import GuardError
from nodes.guard.verdict import Status
from nodes.kernel.sock_diag import (
    ERROR,
    NLMSG,
    NLMSG_ERROR,
    TIME_WAIT_TIMER,
    MessageType,
    open_socket,
    request,
)
from topologies.domain.connection import FourTuple

#: struct inet_diag_msg up to ``idiag_wqueue``.
_REPLY = struct.Struct("=BBBB48xIII")

# net/tcp_states.h: the states that a guard distinguishes.
_TCP_SYN_RECV, _TCP_TIME_WAIT, _TCP_LISTEN = 3, 6, 10


@dataclass(frozen=True)
class SocketInfo:
    """The kernel's state of a connection.

    ``unacknowledged``: octets written and not acknowledged. If no data wait to be sent,
    that is SND.NXT - SND.UNA.
    """

    status: Status
    unacknowledged: int = 0


class SocketLookup:
    """Look-ups in the kernel's socket table, one connection at a time."""

    def __init__(self) -> None:
        self._socket = open_socket()

    def find(self, connection: FourTuple) -> SocketInfo:
        """The state of ``connection``. A listening socket counts as NOTHING."""
        self._socket.send(request(MessageType.LOOK_UP, connection))
        reply = self._socket.recv(4096)
        _, kind, *_ = NLMSG.unpack_from(reply)
        if kind == NLMSG_ERROR:
            (code,) = ERROR.unpack_from(reply, NLMSG.size)
            if -code == errno.ENOENT:
                return SocketInfo(Status.NOTHING)
            raise GuardError(f"sock_diag: {errno.errorcode.get(-code, code)}")
        _, state, timer, _, _, _, unacknowledged = _REPLY.unpack_from(reply, NLMSG.size)
        if timer == TIME_WAIT_TIMER:
            return SocketInfo(Status.TIME_WAIT)
        return _info(state, unacknowledged)


def _info(state: int, unacknowledged: int) -> SocketInfo:
    status = {
        _TCP_SYN_RECV: Status.EMBRYONIC,
        _TCP_TIME_WAIT: Status.TIME_WAIT,
        _TCP_LISTEN: Status.NOTHING,
    }.get(state, Status.CONNECTION)
    return SocketInfo(status, unacknowledged if status is Status.CONNECTION else 0)
