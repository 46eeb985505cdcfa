"""Aborts TCP connections in a node's kernel: ``SOCK_DESTROY`` of sock_diag(7).

The kernel frees the socket immediately, the storage server reads ECONNABORTED, and the
client gets an RST|ACK with the exact sequence number (``tcp_abort``). So both ends are
reset, also on an idle connection. Requests are sent in batches.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from itertools import repeat

from nodes.kernel.sock_diag import (
    ANY_COOKIE,
    ERROR,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG,
    NLMSG_ERROR,
    MessageType,
    SockDiagError,
    open_socket,
    request,
)
from topologies.domain.connection import FourTuple

#: Requests in one batch: their acknowledgments must fit the socket's receive buffer.
_BATCH = 128
_ANSWER_OCTETS = 1 << 16


class SocketDestroyer:
    """Aborts connections of the network namespace in which it was created."""

    def __init__(self) -> None:
        self._socket = open_socket()

    def abort(
        self, connections: Sequence[FourTuple], cookies: Sequence[int] = ()
    ) -> int:
        """Abort those connections. Returns the number that still existed.

        ``cookies``: the socket of each (:func:`~nodes.kernel.sock_diag.request`), so that
        no later connection between the same ends is meant; empty for any.

        Raises :class:`~nodes.kernel.sock_diag.SockDiagError` if the kernel refuses.
        """
        aborted = 0
        each = list(zip(connections, cookies or repeat(ANY_COOKIE), strict=False))
        for start in range(0, len(each), _BATCH):
            batch = each[start : start + _BATCH]
            flags = NLM_F_REQUEST | NLM_F_ACK
            messages = (
                request(MessageType.DESTROY, connection, flags, cookie)
                for connection, cookie in batch
            )
            self._socket.send(b"".join(messages))
            aborted += _acknowledged(self._socket, len(batch))
        return aborted

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _acknowledged(netlink: socket.socket, count: int) -> int:
    """Read ``count`` acknowledgments. Returns the number of successes."""
    done = answered = 0
    while answered < count:
        for code in _codes(netlink.recv(_ANSWER_OCTETS)):
            answered += 1
            done += code == 0
            if code not in (0, errno.ENOENT):
                name = errno.errorcode.get(code, str(code))
                raise SockDiagError(f"SOCK_DESTROY: {name}")
    return done


def _codes(answer: bytes) -> Iterator[int]:
    """The error numbers of the netlink messages in one datagram; 0 is success."""
    while answer:
        size, kind, *_ = NLMSG.unpack_from(answer)
        assert kind == NLMSG_ERROR, "each request asks for an acknowledgment only"
        yield -ERROR.unpack_from(answer, NLMSG.size)[0]
        answer = answer[size:]
