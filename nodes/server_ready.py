"""Whether a server listens, learnt from /proc: no connection is opened to ask it."""

from __future__ import annotations

import time
from pathlib import Path

#: State of a listening socket in /proc/net/tcp (TCP_LISTEN, net/tcp_states.h).
_LISTEN = "0A"


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


def _listening_ports(table: Path) -> set[int]:
    """The ports of a /proc/net/tcp or tcp6 table that are listened on.

    A column is ``ADDRESS:PORT`` in hexadecimal; listening sockets come first there.
    """
    ports = set()
    try:
        with table.open() as lines:
            next(lines)
            for line in lines:
                _, local, _, state = line.split(maxsplit=4)[:4]
                if state != _LISTEN:
                    break
                ports.add(int(local.rpartition(":")[2], 16))
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return ports
