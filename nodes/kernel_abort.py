"""Aborts TCP connections in a node's kernel: ``SOCK_DESTROY`` of sock_diag(7).

The kernel frees the socket at once, the storage server reads ECONNABORTED, and the
client is sent RST|ACK with the exact sequence number (``tcp_abort``): both ends are
reset, however idle they were. All of a node's connections go in one batch.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

from nodes.guard import GuardError
from nodes.segment import FourTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DESTROY = 21  # linux/inet_diag.h
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_NLMSG_ERROR = 2
_NLMSG = struct.Struct("=IHHII")  # struct nlmsghdr
#: struct inet_diag_req_v2: family, protocol, extensions, padding, states; then the
#: identity: ports, source, destination, interface, cookie.
_REQUEST = struct.Struct("=BBBxI2s2s16s16sIII")
_NO_COOKIE = 0xFFFFFFFF
#: Requests of one sendmsg: their acknowledgments must fit the socket's receive buffer.
_BATCH = 128
_ANSWER_OCTETS = 1 << 16


class KernelAborter:
    """Aborts connections of the network namespace that it was made in."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)

    def abort(self, connections: Sequence[FourTuple]) -> int:
        """Abort those connections; returns how many of them there still were.

        Raises :class:`~nodes.guard.GuardError` for what the kernel refuses.
        """
        aborted = 0
        for start in range(0, len(connections), _BATCH):
            batch = connections[start : start + _BATCH]
            self._socket.send(b"".join(map(_request, batch)))
            aborted += _acknowledged(self._socket, len(batch))
        return aborted

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _acknowledged(netlink: socket.socket, count: int) -> int:
    """Read ``count`` acknowledgments; how many of them say that it was done."""
    done = answered = 0
    while answered < count:
        for code in _codes(netlink.recv(_ANSWER_OCTETS)):
            answered += 1
            done += code == 0
            if code not in (0, errno.ENOENT):
                name = errno.errorcode.get(code, str(code))
                raise GuardError(f"SOCK_DESTROY: {name}")
    return done


def _codes(answer: bytes) -> Iterator[int]:
    """The error numbers of the netlink messages in one datagram; 0: done."""
    while answer:
        size, kind, *_ = _NLMSG.unpack_from(answer)
        assert kind == _NLMSG_ERROR, "each request asks for an acknowledgment only"
        yield -struct.unpack_from("=i", answer, _NLMSG.size)[0]
        answer = answer[size:]


def _request(connection: FourTuple) -> bytes:
    vip = ipaddress.ip_address(connection.vip).packed
    client = ipaddress.ip_address(connection.client).packed
    body = _REQUEST.pack(
        socket.AF_INET if len(vip) == 4 else socket.AF_INET6,
        socket.IPPROTO_TCP,
        0,
        0xFFFFFFFF,
        struct.pack("!H", connection.vip_port),
        struct.pack("!H", connection.client_port),
        vip,
        client,
        0,
        _NO_COOKIE,
        _NO_COOKIE,
    )
    size = _NLMSG.size + len(body)
    flags = _NLM_F_REQUEST | _NLM_F_ACK
    return _NLMSG.pack(size, _SOCK_DESTROY, flags, 1, 0) + body
