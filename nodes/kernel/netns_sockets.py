"""The TCP sockets in this process's network namespace, from /proc."""

from __future__ import annotations

import socket
from pathlib import Path

#: The kernel's lists, and the state of an open connection (include/net/tcp_states.h).
_LISTS = {
    socket.AF_INET: Path("/proc/thread-self/net/tcp"),
    socket.AF_INET6: Path("/proc/thread-self/net/tcp6"),
}
_ESTABLISHED = "01"


def is_established(family: socket.AddressFamily, port: int, peer_port: int) -> bool:
    """Whether a connection from that local port to ``peer_port`` is established."""
    return has_established(_LISTS[family].read_text(), port, peer_port)


def has_established(table: str, port: int, peer_port: int) -> bool:
    """The same for the text of ``/proc/net/tcp`` or ``tcp6`` (proc(5))."""
    ends = f"{port:04X}", f"{peer_port:04X}"
    for line in table.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == _ESTABLISHED and (local[-4:], remote[-4:]) == ends:
            return True
    return False
