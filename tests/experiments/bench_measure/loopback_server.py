"""A TCP server on loopback that answers, stays silent or resets, as a test requires."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.bench.measure.load_generators import LoadGenerators
from nodes.clients.client_ports import seeded_ports

ECHO, SILENT, RESET, END = "echo", "silent", "reset", "end"
#: No test waits longer for anything that must happen.
DEADLINE_S = 30.0
ABORT = struct.pack("ii", 1, 0)


class LoopbackServer:
    """``behaviour``: by source port of the connection; ``otherwise``: of all others."""

    def __init__(self, host: str = "127.0.0.1", otherwise: str = ECHO) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self.otherwise = otherwise
        self.behaviour: dict[int, str] = {}
        #: Source port -> what was received from it.
        self.received: dict[int, bytes] = {}
        self._connections: dict[int, socket.socket] = {}
        self._accepted = threading.Condition()
        self._end, self._told = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connection(self, source_port: int) -> socket.socket:
        """The server's end of the connection from there, once it is accepted."""
        with self._accepted:
            there = self._accepted.wait_for(
                lambda: source_port in self._connections, DEADLINE_S
            )
            assert there, f"no connection from port {source_port}"
            return self._connections[source_port]

    def abort(self, source_port: int) -> None:
        """Reset the connection from there."""
        connection = self.connection(source_port)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        connection.close()

    def close(self) -> None:
        self._end.close()
        self._thread.join(DEADLINE_S)
        for each in (self._listening, self._told, *self._connections.values()):
            each.close()

    def _serve(self) -> None:
        while True:
            open_ones = {s: p for p, s in self._connections.items() if s.fileno() >= 0}
            waits = [self._told, self._listening, *open_ones]
            with contextlib.suppress(
                ValueError, OSError
            ):  # the test has closed a socket
                ready, _, _ = select.select(waits, [], [], 0.05)
                if self._told in ready:
                    return
                for each in ready:
                    if each is self._listening:
                        self._accept()
                    else:
                        self._treat(each, open_ones[each])

    def _accept(self) -> None:
        connection, (_, port, *_rest) = self._listening.accept()
        with self._accepted:
            self._connections[port] = connection
            self._accepted.notify_all()

    def _treat(self, connection: socket.socket, port: int) -> None:
        reaction = self.behaviour.get(port, self.otherwise)
        try:
            octets = connection.recv(4096)
        except ConnectionError:
            octets = b""
        self.received[port] = self.received.get(port, b"") + octets
        if reaction == RESET and octets:
            self.abort(port)
        elif reaction == END or not octets:
            connection.close()
        elif reaction == ECHO:
            connection.sendall(octets)


@contextmanager
def loopback_server(
    host: str = "127.0.0.1", otherwise: str = ECHO
) -> Iterator[LoopbackServer]:
    """A server that is closed at the end of the block."""
    server = LoopbackServer(host, otherwise)
    try:
        yield server
    finally:
        server.close()


def unused_ports(count: int) -> list[int]:
    """Ports that were unused a moment ago, for both IP versions."""
    with contextlib.ExitStack() as held:
        return [
            held.enter_context(
                socket.create_server(
                    ("", 0), family=socket.AF_INET6, dualstack_ipv6=True
                )
            ).getsockname()[1]
            for _ in range(count)
        ]


def unused_seed(streams: list[str], count: int) -> int:
    """A seed of which the first ``count`` ports of every stream are unused."""
    for seed in range(1, 1000):
        with contextlib.ExitStack() as held:
            try:
                for stream in streams:
                    for port in seeded_ports(seed, stream)[:count]:
                        held.enter_context(socket.socket()).bind(("", port))
            except OSError:
                continue
            return seed
    raise AssertionError("every seed has a port that is in use")


class LoopbackNetwork:
    """Clients on loopback, with the methods that load generators need."""

    steps: dict[str, float] = {}

    def __init__(self, clients: list[str], targets: list[str]) -> None:
        self.clients = clients
        self.servers: list[str] = []
        self._targets = targets

    def targets(self) -> list[str]:
        return self._targets

    def pid(self, host: str) -> int:
        raise AssertionError(f"the namespace of {host} is not needed")

    def server_of(self, client: str, port: int, target: str, source_port: int) -> str:
        raise AssertionError(f"the server of {client} is not needed")

    def dropped(self) -> int:
        return 0

    def close(self) -> None:
        pass


def ports_of(generators: LoadGenerators, client: str) -> list[int]:
    """Source ports of that client's connections, in the order they were opened in."""
    return [port for name, port in generators.connections if name == client]
