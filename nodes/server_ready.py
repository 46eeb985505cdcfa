"""Whether a server listens, learnt from /proc: no connection is opened to ask it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

#: State of a listening socket in /proc/net/tcp (TCP_LISTEN, net/tcp_states.h).
_LISTEN = "0A"
#: About one row of the table. The kernel walks through all connections of the machine
#: to fill a larger buffer, although those that listen come first.
_ROW_OCTETS = 160


class NotReadyError(TimeoutError):
    """A server that should listen by now does not."""


def is_listening(pid: int, port: int) -> bool:
    """Whether ``port`` is open on IPv4 and IPv6 in the network namespace of ``pid``.

    ``pid`` is any process there; False if it is gone. A trial connection would tell
    too, but it would be counted, captured and balanced like a client's.
    """
    return all(
        port in _listening_ports(Path(f"/proc/{pid}/net/{table}"))
        for table in ("tcp", "tcp6")
    )


def wait_listening(pid: int, port: int, timeout_s: float = 10.0) -> None:
    """Wait until :func:`is_listening`. Raises :class:`NotReadyError` if it is late."""
    deadline = time.monotonic() + timeout_s
    while not is_listening(pid, port):
        if time.monotonic() > deadline:
            raise NotReadyError(f"no listener on port {port} after {timeout_s:g} s")
        time.sleep(0.005)


def _listening_ports(table: Path) -> Iterator[int]:
    """The ports of a /proc/net/tcp or tcp6 table that are listened on.

    A column is ``ADDRESS:PORT`` in hexadecimal; listening sockets come first there.
    """
    for row in _rows(table):
        _, local, _, state = row.split(maxsplit=4)[:4]
        if state != _LISTEN:
            return
        yield int(local.rpartition(":")[2], 16)


def _rows(table: Path) -> Iterator[str]:
    """The rows of the table but its heading, read no further than they are asked for.

    None where the process is gone.
    """
    try:
        descriptor = os.open(table, os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return
    try:
        heading, text = True, b""
        while part := os.read(descriptor, _ROW_OCTETS):
            *rows, text = (text + part).split(b"\n")
            for row in rows:
                if not heading:
                    yield row.decode()
                heading = False
    finally:
        os.close(descriptor)
