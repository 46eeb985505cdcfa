"""Whether a server listens, learnt from the kernel: no connection is opened to ask it."""

from __future__ import annotations

import socket
import time

from nodes.kernel.network_namespace import inside_network_of
from nodes.kernel.sock_diag import NLMSG, Kind, open_socket, request
from topologies.domain.connection import FourTuple

_TCP_LISTEN = 10  # net/tcp_states.h
#: No address: of both IP versions.
_ANY = "0.0.0.0", "::"


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
            kernel = open_socket()
    except FileNotFoundError:
        return False
    with kernel:
        return all(_has_listener(kernel, address, port) for address in _ANY)


def wait_listening(pid: int, port: int, timeout_s: float = 10.0) -> None:
    """Wait until :func:`is_listening`. Raises :class:`NotReadyError` if it is late."""
    deadline = time.monotonic() + timeout_s
    while not is_listening(pid, port):
        if time.monotonic() > deadline:
            raise NotReadyError(f"no listener on port {port} after {timeout_s:g} s")
        time.sleep(0.005)


def _has_listener(kernel: socket.socket, address: str, port: int) -> bool:
    """Whether a segment to that port, to any address, would find a listening socket."""
    kernel.send(request(Kind.LOOK_UP, FourTuple(address, 0, address, port)))
    answer = kernel.recv(4096)
    _length, kind, *_ = NLMSG.unpack_from(answer)
    # Anything else is NLMSG_ERROR: there is none.
    return kind == Kind.LOOK_UP and answer[NLMSG.size + 1] == _TCP_LISTEN
