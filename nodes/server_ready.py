"""Whether a server listens, learnt from the kernel: no connection is opened to ask it."""

from __future__ import annotations

import socket
import struct
import time

from nodes.network_namespace import inside_network_of

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20  # linux/netlink.h, linux/sock_diag.h
_MESSAGE = struct.Struct("=IHHII")  # nlmsghdr
_REQUEST_FLAG = 1
_ALL_STATES, _ANY_COOKIE = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_TCP_LISTEN = 10  # net/tcp_states.h


class NotReadyError(TimeoutError):
    """A server that should listen by now does not."""


def is_listening(pid: int, port: int) -> bool:
    """Whether ``port`` is open on IPv4 and IPv6 in the network namespace of ``pid``.

    ``pid`` is any process there; False if it is gone. A trial connection would tell
    too, but it would be counted, captured and balanced like a client's. /proc/net/tcp
    would too, but walking through all of the machine's connections takes milliseconds.
    """
    try:
        with inside_network_of(pid):
            kernel = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG
            )
    except FileNotFoundError:
        return False
    with kernel:
        families = (socket.AF_INET, socket.AF_INET6)
        return all(_has_listener(kernel, family, port) for family in families)


def wait_listening(pid: int, port: int, timeout_s: float = 10.0) -> None:
    """Wait until :func:`is_listening`. Raises :class:`NotReadyError` if it is late."""
    deadline = time.monotonic() + timeout_s
    while not is_listening(pid, port):
        if time.monotonic() > deadline:
            raise NotReadyError(f"no listener on port {port} after {timeout_s:g} s")
        time.sleep(0.005)


def _has_listener(kernel: socket.socket, family: int, port: int) -> bool:
    """Whether a segment to that port, to any address, would find a listening socket."""
    question = _question(family, port)
    length = _MESSAGE.size + len(question)
    kernel.send(_MESSAGE.pack(length, _BY_FAMILY, _REQUEST_FLAG, 0, 0) + question)
    answer = kernel.recv(4096)
    _length, kind, *_ = _MESSAGE.unpack_from(answer)
    # Anything else is NLMSG_ERROR: there is none.
    return kind == _BY_FAMILY and answer[_MESSAGE.size + 1] == _TCP_LISTEN


def _question(family: int, port: int) -> bytes:
    """An ``inet_diag_req_v2`` (linux/inet_diag.h): our end's port, no address."""
    return b"".join(
        (
            struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES),
            struct.pack("!H", port),
            bytes(2 + 16 + 16 + 4),
            struct.pack("=Q", _ANY_COOKIE),
        )
    )
