"""Source ports of a client: a seeded order, so the same seed makes the same flows."""

from __future__ import annotations

import errno
import itertools
import random
import socket
from collections.abc import Callable, Iterable, Iterator

#: Every port a client may use, below and above Linux's ephemeral floor alike.
PORT_RANGE = range(20000, 60000)


def seeded_ports(seed: int, stream: str) -> list[int]:
    """Every port of :data:`PORT_RANGE` once, in the order that the seed fixes.

    ``stream`` tells apart clients that share a seed, e.g. by their host names. The
    order is drawn whole: a shorter ``random.sample`` is not a prefix of a longer one.
    """
    return random.Random(f"{seed}/{stream}").sample(PORT_RANGE, len(PORT_RANGE))


class PortLanes:
    """The seeded order dealt to connections: lane k gets ports k, k + lanes, ...

    Connection k opens from port k of the order, as if ports were drawn in order; and
    where it reconnects from depends on how often *it* was reset, not on which of two
    connections happened to be reset first. A lane that runs out starts again. With
    ``keep`` a lane stays with the first port that it got.
    """

    def __init__(self, seed: int, stream: str, lanes: int, keep: bool = False) -> None:
        order = seeded_ports(seed, stream)
        self._lanes = [order[lane::lanes] for lane in range(lanes)]
        self._next: list[Iterator[int]] = [itertools.cycle(p) for p in self._lanes]
        self._keep = keep
        self._kept: dict[int, int] = {}

    def bind(
        self, lane: int, family: socket.AddressFamily, skipped: Callable[[int], None]
    ) -> tuple[socket.socket, int]:
        """A non-blocking TCP socket bound to the lane's next free port, and that port.

        ``skipped`` hears of each port that something else holds. Raises ``OSError``
        (EADDRINUSE) when every port of the lane is held, or the one that it keeps; or
        whatever else bind(2) says.
        """
        ports: Iterable[int] = itertools.islice(
            self._next[lane], len(self._lanes[lane])
        )
        if lane in self._kept:
            ports = (self._kept[lane],)
        for port in ports:
            sock = _bind(family, port)
            if sock is not None:
                if self._keep:
                    self._kept[lane] = port
                return sock, port
            skipped(port)
        raise OSError(errno.EADDRINUSE, f"every source port of lane {lane} is taken")


def _bind(family: socket.AddressFamily, port: int) -> socket.socket | None:
    """A bound socket, or None where the port is held.

    SO_REUSEADDR stays off: with it bind(2) succeeds on a port in TIME_WAIT, and
    connect(2) refuses the 4-tuple later, where skipping is no longer simple.
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
