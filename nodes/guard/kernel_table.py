"""Asks the kernel of this network namespace for one TCP connection (sock_diag(7))."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from nodes.guard.guard import GuardError
from nodes.guard.verdict import Known
from nodes.kernel.sock_diag import ERROR, NLMSG, NLMSG_ERROR, Kind, open_socket, request
from topologies.domain.connection import FourTuple

#: struct inet_diag_msg up to ``idiag_wqueue``.
_REPLY = struct.Struct("=BBBB48xIII")

# net/tcp_states.h, as far as they differ for a guard.
_TCP_SYN_RECV, _TCP_TIME_WAIT, _TCP_LISTEN = 3, 6, 10


@dataclass(frozen=True)
class KernelView:
    """What the kernel holds; ``unacknowledged``: octets written and not acknowledged.

    Without data waiting to be sent, SND.UNA is that much before SND.NXT.
    """

    known: Known
    unacknowledged: int = 0


class KernelTable:
    """The kernel's own table of connections, one exact look-up at a time."""

    def __init__(self) -> None:
        self._socket = open_socket()

    def find(self, connection: FourTuple) -> KernelView:
        """What the kernel holds of ``connection``. A listening socket is nothing."""
        self._socket.send(request(Kind.LOOK_UP, connection))
        reply = self._socket.recv(4096)
        _, kind, *_ = NLMSG.unpack_from(reply)
        if kind == NLMSG_ERROR:
            (code,) = ERROR.unpack_from(reply, NLMSG.size)
            if -code == errno.ENOENT:
                return KernelView(Known.NOTHING)
            raise GuardError(f"sock_diag: {errno.errorcode.get(-code, code)}")
        _, state, _, _, _, _, unacknowledged = _REPLY.unpack_from(reply, NLMSG.size)
        return _view(state, unacknowledged)


def _view(state: int, unacknowledged: int) -> KernelView:
    known = {
        _TCP_SYN_RECV: Known.EMBRYONIC,
        _TCP_TIME_WAIT: Known.TIME_WAIT,
        _TCP_LISTEN: Known.NOTHING,
    }.get(state, Known.CONNECTION)
    return KernelView(known, unacknowledged if known is Known.CONNECTION else 0)
