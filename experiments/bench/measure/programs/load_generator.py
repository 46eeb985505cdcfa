#!/usr/bin/env python3
"""Opens many TCP connections in one process, and sends requests on them.

It reads requests as JSON lines on standard input, and writes a JSON line for each reply:

``{"op": "open", "connections": N, "window": W, "timeout_s": S}``
    Opens N more, with at most W unanswered connects at a time.
``{"op": "request", "which": [..] or null, "at_once": bool, "timeout_s": S, "pause_s": P}``
    Sends one request on each open connection of those (null: of all). Waits until each is
    answered or reset, or the timeout. ``at_once`` false: one after the other.
``{"op": "close"}``
    Aborts all (RST), so that no port is left in TIME_WAIT.

Times are CLOCK_REALTIME seconds, latencies milliseconds. A connection is identified by
its index, in the order of opening. The reply to ``open`` has its source port.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

#: As in nodes/clients/client_ports.py, which this program must not import.
PORT_RANGE = range(20000, 60000)
REQUEST = b"0123456789abcdef"
#: SO_LINGER on, 0 seconds: close(2) sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)
BROKEN = select.EPOLLERR | select.EPOLLHUP
EVENTS_AT_ONCE = 512


class LoadGenerator:
    """The connections of this process, to ``targets`` in turn."""

    def __init__(
        self, targets: Sequence[str], port: int, ports: Sequence[int], source: str
    ) -> None:
        """``ports``: source ports in the order of use."""
        self._addresses = [(target, port) for target in targets]
        self._family = socket.AF_INET6 if ":" in targets[0] else socket.AF_INET
        self._ports = ports
        self._source = source
        self._sockets: list[socket.socket | None] = []
        self._index: dict[int, int] = {}
        self._epoll = select.epoll()

    def open(self, connections: int, window: int, timeout_s: float) -> dict[str, Any]:
        """Open that many more. Failed ones are counted and dropped.

        A connection of an earlier opening is left alone: its next request finds the error.
        """
        first, last = len(self._sockets), len(self._sockets) + connections
        waiting: set[int] = set()
        failures: dict[str, int] = {}
        began = time.time()
        deadline = began + timeout_s
        following, done = first, began
        while (following < last or waiting) and time.time() < deadline:
            while following < last and len(waiting) < window:
                waiting.add(self._connect(following))
                following += 1
            for fd, events in self._epoll.poll(0.1, EVENTS_AT_ONCE):
                waiting.discard(fd)
                if events & BROKEN and self._index[fd] >= first:
                    self._drop(fd, failures)
            done = time.time()
        for fd in waiting:
            self._drop(fd, failures)
        opened = [i for i in range(first, len(self._sockets)) if self._sockets[i]]
        return {
            "opened": len(opened),
            "failures": failures,
            "first_s": began,
            "last_s": done,
            "ports": [[i, self._ports[i]] for i in opened],
        }

    def request(
        self,
        which: Sequence[int] | None,
        at_once: bool,
        timeout_s: float,
        pause_s: float = 0.0,
    ) -> dict[str, Any]:
        """Send one request on each. Returns the results."""
        indices = range(len(self._sockets)) if which is None else which
        selected = [i for i in indices if self._sockets[i] is not None]
        requests = RequestRound(self._sockets, self._index, self._epoll)
        if at_once:
            requests.request(selected, timeout_s)
        else:
            for index in selected:
                requests.request([index], timeout_s)
                time.sleep(pause_s)
        return requests.result()

    def close(self) -> dict[str, Any]:
        """Abort every connection."""
        for sock in self._sockets:
            if sock is not None:
                sock.close()
        closed = len(self._index)
        self._index.clear()
        self._sockets = [None] * len(self._sockets)
        return {"closed": closed}

    def _connect(self, index: int) -> int:
        """Start to connect. Returns the descriptor; epoll reports failures."""
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # However this process ends: no port of it stays in use (TIME-WAIT).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        sock.bind((self._source, self._ports[index]))
        status = sock.connect_ex(self._addresses[index % len(self._addresses)])
        if status not in (0, errno.EINPROGRESS):
            raise OSError(status, "connect")
        fd = sock.fileno()
        # Edge-triggered, so that one registration is enough for the handshake (OUT) and
        # all answers (IN).
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        self._sockets.append(sock)
        self._index[fd] = index
        return fd

    def _drop(self, fd: int, failures: dict[str, int]) -> None:
        index = self._index.pop(fd)
        sock = self._sockets[index]
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        name = errno.errorcode.get(code, "timeout")
        failures[name] = failures.get(name, 0) + 1
        sock.close()
        self._sockets[index] = None


class RequestRound:
    """One request on each of some connections, with the results."""

    def __init__(
        self,
        sockets: list[socket.socket | None],
        index: dict[int, int],
        epoll: select.epoll,
    ) -> None:
        self._sockets = sockets
        self._index = index
        self._epoll = epoll
        self._sent: dict[int, float] = {}
        self._answered: dict[int, float] = {}
        self._reset: dict[int, float] = {}
        self._watched_s = 0.0
        self._first_s: float | None = None
        self._last_reset_s: float | None = None

    def request(self, indices: Sequence[int], timeout_s: float) -> None:
        """Send a request on each of these, then wait for all of them."""
        clock = time.perf_counter
        if self._first_s is None:
            self._first_s = time.time()
        waiting = set(indices)
        for index in indices:
            sock = self._sockets[index]
            assert sock is not None
            self._sent[index] = clock()
            try:
                sock.send(REQUEST)
            except OSError:
                self._ended(index)
                waiting.discard(index)
        deadline = clock() + timeout_s
        while waiting and clock() < deadline:
            for fd, events in self._epoll.poll(0.1, EVENTS_AT_ONCE):
                index = self._index[fd]
                if events & (BROKEN | select.EPOLLIN):
                    self._receive(index)
                    waiting.discard(index)
        self._watched_s = clock()

    def result(self) -> dict[str, Any]:
        """Latencies, and the connections that were reset or got no answer."""
        hung = self._sent.keys() - self._answered.keys() - self._reset.keys()
        return {
            "requests": len(self._sent),
            "answered": len(self._answered),
            "reset": sorted(self._reset),
            "hung": sorted(hung),
            "first_s": self._first_s,
            "last_reset_s": self._last_reset_s,
            "answer_ms": [round(v * 1e3, 4) for v in self._answered.values()],
            "waited_ms": [[i, round(v * 1e3, 4)] for i, v in self._waited(hung)],
            "reset_ms": [round(v * 1e3, 4) for v in self._reset.values()],
        }

    def _waited(self, hung: Collection[int]) -> Iterator[tuple[int, float]]:
        """The wait of each connection that was not reset.

        A connection without an answer waited until the timeout.
        """
        yield from self._answered.items()
        for index in hung:
            yield index, self._watched_s - self._sent[index]

    def _receive(self, index: int) -> None:
        sock = self._sockets[index]
        assert sock is not None
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            self._ended(index)
            return
        if not data:
            self._ended(index)
        elif index in self._sent and index not in self._answered:
            self._answered[index] = time.perf_counter() - self._sent[index]

    def _ended(self, index: int) -> None:
        """The connection has ended, by an error of the socket.

        A connection that got no request is left alone: its next request finds the error.
        """
        if index not in self._sent:
            return
        self._reset[index] = time.perf_counter() - self._sent[index]
        self._last_reset_s = time.time()
        sock = self._sockets[index]
        assert sock is not None
        del self._index[sock.fileno()]
        sock.close()
        self._sockets[index] = None


def main(argv: list[str]) -> int:
    """Serve requests until the end of standard input."""
    parser = argparse.ArgumentParser(prog="load_generator.py", description=__doc__)
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--stream", default="h1", help="determines the order of the ports"
    )
    options = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    draw = random.Random(f"{options.seed}/{options.stream}")
    ports = draw.sample(PORT_RANGE, len(PORT_RANGE))
    generator = LoadGenerator(options.target, options.port, ports, "")
    operations: dict[str, Callable[..., dict[str, Any]]] = {
        "open": generator.open,
        "request": generator.request,
        "close": generator.close,
    }
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(operations[request.pop("op")](**request)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
