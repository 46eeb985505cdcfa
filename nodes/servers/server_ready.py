"""Whether a server listens, read from the kernel without a test connection."""

from __future__ import annotations

import socket
import time

from nodes.kernel.network_namespace import enter_netns
from nodes.kernel.sock_diag import NLMSG, MessageType, open_socket, request
from topologies.domain.connection import FourTuple

_TCP_LISTEN = 10  # net/tcp_states.h
#: The unspecified addresses of both IP versions.
_ANY = "0.0.0.0", "::"


class NotReadyError(TimeoutError):
    """A server does not listen after the timeout."""


def is_listening(pid: int, port: int) -> bool:
    """Whether ``port`` is open on IPv4 and IPv6 in the network namespace of ``pid``.

    ``pid`` is any process there; False if it has ended. A test connection would be counted,
    captured and balanced like a client's. Reading /proc/net/tcp takes milliseconds, since
    the kernel walks through all connections of the machine.
    """
    try:
        with enter_netns(pid):
            kernel = open_socket()
    except FileNotFoundError:
        return False
    with kernel:
        return all(_has_listener(kernel, address, port) for address in _ANY)


def wait_listening(pid: int, port: int, timeout_s: float = 10.0) -> None:
    """Wait until :func:`is_listening`. Raises :class:`NotReadyError` at the timeout."""
    deadline = time.monotonic() + timeout_s
    while not is_listening(pid, port):
        if time.monotonic() > deadline:
            raise NotReadyError(f"no listener on port {port} after {timeout_s:g} s")
        time.sleep(0.005)


def _has_listener(kernel: socket.socket, address: str, port: int) -> bool:
    """Whether a listening socket exists for that port and the unspecified address."""
    kernel.send(request(MessageType.LOOK_UP, FourTuple(address, 0, address, port)))
    answer = kernel.recv(4096)
    _length, kind, *_ = NLMSG.unpack_from(answer)
    # Any other type is NLMSG_ERROR: there is none.
    return kind == MessageType.LOOK_UP and answer[NLMSG.size + 1] == _TCP_LISTEN
