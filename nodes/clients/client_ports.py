"""Source ports of a client in a seeded order: the same seed gives the same flows."""

from __future__ import annotations

import errno
import itertools
import random
import socket
from collections.abc import Callable, Iterable, Iterator

#: All ports that a client may use, inside and outside of Linux's ephemeral range.
PORT_RANGE = range(20000, 60000)


def seeded_ports(seed: int, stream: str) -> list[int]:
    """Every port of :data:`PORT_RANGE` once, in the order of the seed.

    ``stream`` distinguishes clients with the same seed, e.g. by host name. The whole order
    is drawn, since a shorter ``random.sample`` is not a prefix of a longer one.
    """
    return random.Random(f"{seed}/{stream}").sample(PORT_RANGE, len(PORT_RANGE))


class SourcePorts:
    """The seeded order, divided among connections: slot k has ports k, k + slots, ...

    Connection k opens from port k of the order. The port of a reconnect depends on how
    often this connection was reset, and not on the order of resets of different
    connections. A slot that has used all its ports starts over. With ``keep`` a slot
    always uses the first port that it got.
    """

    def __init__(self, seed: int, stream: str, slots: int, keep: bool = False) -> None:
        order = seeded_ports(seed, stream)
        self._slots = [order[slot::slots] for slot in range(slots)]
        self._next: list[Iterator[int]] = [itertools.cycle(p) for p in self._slots]
        self._keep = keep
        self._kept: dict[int, int] = {}

    def bind(
        self, slot: int, family: socket.AddressFamily, skipped: Callable[[int], None]
    ) -> tuple[socket.socket, int]:
        """A non-blocking TCP socket bound to the slot's next free port, and that port.

        ``skipped`` is called for each port that is in use. Raises ``OSError``: EADDRINUSE
        if all ports of the slot are in use, or the one that it keeps; other errors of
        bind(2).
        """
        ports: Iterable[int] = itertools.islice(
            self._next[slot], len(self._slots[slot])
        )
        if slot in self._kept:
            ports = (self._kept[slot],)
        for port in ports:
            sock = _bind(family, port)
            if sock is not None:
                if self._keep:
                    self._kept[slot] = port
                return sock, port
            skipped(port)
        raise OSError(errno.EADDRINUSE, f"every source port of slot {slot} is taken")


def _bind(family: socket.AddressFamily, port: int) -> socket.socket | None:
    """A bound socket, or None if the port is in use.

    SO_REUSEADDR stays off. With it, bind(2) succeeds on a port in TIME_WAIT, and only
    connect(2) fails, where skipping the port is no longer simple.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(("", port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return sock
