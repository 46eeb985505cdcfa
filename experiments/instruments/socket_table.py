"""The TCP sockets of a host's kernel at this moment.

``/proc/PID/net/tcp`` lists a whole namespace without entering it. It takes 17 ms for
1,500 sockets; a netlink library took 300 ms to parse the same from inet_diag.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from experiments.record.socket_events import STATES
from nodes.kernel.network_namespace import PROC
from nodes.kernel.sock_diag import TIME_WAIT_TIMER
from topologies.domain.connection import FourTuple, connection_of

#: States in which a node holds a connection's buffers, locks and leases.
HELD = frozenset(
    ("ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT", "LAST_ACK", "CLOSING")
)
_TIME_WAIT_TIMER = f"{TIME_WAIT_TIMER:02X}:"


class HeldSocket(NamedTuple):
    """One socket of the table. ``state``: one of ``socket_events.STATES``."""

    connection: FourTuple
    state: str


def sockets_of(
    pid: int, states: Collection[str] = HELD, proc: Path = PROC
) -> Iterator[HeldSocket]:
    """Sockets in ``states``, with the VIP at one end, in the namespace of ``pid``.

    ``proc``: the procfs that numbers it so, e.g. that of a sandbox. Raises
    :class:`OSError` if that process has ended.
    """
    for table in ("tcp", "tcp6"):
        with open(proc / f"{pid}/net/{table}", encoding="ascii") as lines:
            next(lines)
            for line in lines:
                _, local, remote, state, _, timer, _ = line.split(None, 6)
                name = STATES[int(state, 16)]
                if timer.startswith(_TIME_WAIT_TIMER):
                    name = "TIME_WAIT"
                if name in states:
                    connection = connection_of(*_end(remote), *_end(local))
                    if connection:
                        yield HeldSocket(connection, name)


def _end(text: str) -> tuple[str, int]:
    """``0100000A:2A39`` -> (10.0.0.1, 10809); 32-bit words in the host's byte order."""
    address, _, port = text.partition(":")
    words = bytes.fromhex(address)
    if sys.byteorder == "little":
        words = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    if len(words) == 4:
        return socket.inet_ntoa(words), int(port, 16)
    address6 = IPv6Address(words)
    return str(address6.ipv4_mapped or address6), int(port, 16)
