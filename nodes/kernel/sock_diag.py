"""Requests of sock_diag(7) about one TCP connection in a network namespace.

The structures are those of ``linux/netlink.h``, ``linux/sock_diag.h`` and
``linux/inet_diag.h``. They are built here, without a library, for speed: a guard may
send a request for each segment.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from enum import IntEnum

from topologies.domain.connection import FourTuple

NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR = 2
#: struct nlmsghdr: length, type, flags, sequence number, port.
NLMSG = struct.Struct("=IHHII")
#: What follows the header of an NLMSG_ERROR: a negative error number, 0 for success.
ERROR = struct.Struct("=i")

#: ``idiag_timer``, and ``tr`` in /proc/net/tcp, of a TIME-WAIT minisocket. Its state is shown
#: as FIN_WAIT2 until its peer has sent FIN (``tcp_time_wait`` in net/ipv4/tcp_minisocks.c). But
#: the socket is gone, and with it buffers, locks and all else that the connection held.
TIME_WAIT_TIMER = 3

_NETLINK_SOCK_DIAG = 4
#: struct inet_diag_req_v2: family, protocol, extensions, padding, states; then the
#: socket's id: ports, source, destination, interface, cookie.
_REQUEST = struct.Struct("=BBBxI2s2s16s16sIII")
_EVERY_STATE = _WORD = 0xFFFFFFFF
#: INET_DIAG_NOCOOKIE, twice: a socket with any cookie.
ANY_COOKIE = 0xFFFFFFFF_FFFFFFFF


class SockDiagError(RuntimeError):
    """The kernel refused a request of sock_diag(7). The text has the error's name."""


class MessageType(IntEnum):
    """Type of a request."""

    LOOK_UP = 20  # SOCK_DIAG_BY_FAMILY
    DESTROY = 21  # SOCK_DESTROY


def open_socket() -> socket.socket:
    """A netlink socket to the kernel, for the caller's network namespace."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)


def request(
    kind: MessageType,
    connection: FourTuple,
    flags: int = NLM_F_REQUEST,
    cookie: int = ANY_COOKIE,
) -> bytes:
    """The message about the node's end of ``connection``; ``flags``: NLM_F_*.

    ``cookie``: of one socket (``sock_gen_cookie``); with another one the kernel answers
    as if it had none.
    """
    vip = ipaddress.ip_address(connection.dst).packed
    client = ipaddress.ip_address(connection.src).packed
    body = _REQUEST.pack(
        socket.AF_INET if len(vip) == 4 else socket.AF_INET6,
        socket.IPPROTO_TCP,
        0,
        _EVERY_STATE,
        struct.pack("!H", connection.dport),
        struct.pack("!H", connection.sport),
        vip,
        client,
        0,
        cookie & _WORD,
        cookie >> 32,
    )
    return NLMSG.pack(NLMSG.size + len(body), kind, flags, 1, 0) + body
