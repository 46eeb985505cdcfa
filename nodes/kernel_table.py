"""Asks the kernel of this network namespace for one TCP connection (sock_diag(7))."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from nodes.guard import GuardError
from nodes.segment import FourTuple
from nodes.verdict import Known

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_NLMSG = struct.Struct("=IHHII")  # struct nlmsghdr
#: struct inet_diag_req_v2 (linux/inet_diag.h): family, protocol, extensions, padding,
#: states; then the socket's identity: ports, source, destination, interface, cookie.
_REQUEST = struct.Struct("=BBBxI2s2s16s16sIII")
#: struct inet_diag_msg up to ``idiag_wqueue``.
_REPLY = struct.Struct("=BBBB48xIII")
_NO_COOKIE = 0xFFFFFFFF

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
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)

    def find(self, connection: FourTuple) -> KernelView:
        """What the kernel holds of ``connection``. A listening socket is nothing."""
        self._socket.send(_request(connection))
        reply = self._socket.recv(4096)
        _, kind, *_ = _NLMSG.unpack_from(reply)
        if kind == _NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", reply, _NLMSG.size)
            if -code == errno.ENOENT:
                return KernelView(Known.NOTHING)
            raise GuardError(f"sock_diag: {errno.errorcode.get(-code, code)}")
        _, state, _, _, _, _, unacknowledged = _REPLY.unpack_from(reply, _NLMSG.size)
        return _view(state, unacknowledged)


def _view(state: int, unacknowledged: int) -> KernelView:
    known = {
        _TCP_SYN_RECV: Known.EMBRYONIC,
        _TCP_TIME_WAIT: Known.TIME_WAIT,
        _TCP_LISTEN: Known.NOTHING,
    }.get(state, Known.CONNECTION)
    return KernelView(known, unacknowledged if known is Known.CONNECTION else 0)


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
    return _NLMSG.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body
