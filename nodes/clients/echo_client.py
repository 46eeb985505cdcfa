#!/usr/bin/env python3
"""An echo client for many connections. It compares each answer with its request."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.capacity import ECHO_CONNECTIONS
from nodes.clients.client_options import (
    ClientOptions,
    make_parser,
    number,
    shared_options,
)
from nodes.clients.client_report import ReportWriter, ServerClosed
from nodes.clients.client_runtime import Connector, Shutdown, TimerQueue, retry_forever
from nodes.servers.echo_server import DC1, ECHO_PORT, EOT

#: Time reserved before the deadline, to exit.
SPARE_S = 0.5
#: Interval of checks for open requests at the end of a burst.
RECHECK_S = 0.02
#: Bytes of a wrong answer that the report shows.
SHOWN_BYTES = 64

TEXT = """\
N connections to a TCP echo service. Each connection sends a small numbered request every
interval and compares the answer. The seed determines the time of its first request. At
most one request is outstanding, unless the pattern sets another number. When a connection
is reset, it reconnects from the next source port and repeats the unanswered requests.
With --pattern half-closed, a connection requests a line every interval and shuts down its
sending side. Each received line then counts as a request.

In the summary a write is one request. acknowledged_writes: answered in full.
verified_writes: answered correctly. lost_writes: answered with anything else. A request
without an answer counts in none of them: see hung. An echo service stores nothing, so
there is no verification at the end.
"""


class EchoConnection(asyncio.BufferedProtocol):
    """One connection of the client, over one or more TCP connections."""

    def __init__(self, conn: int, client: EchoClient) -> None:
        self._conn = conn
        self._client = client
        self._transport: asyncio.WriteTransport | None = None
        self._number = 0
        #: Unanswered requests in order, and when each was due.
        self._requests: deque[tuple[bytes, float]] = deque()
        self._answer = bytearray()
        self._ended = False
        self._resting = False
        #: Start counter: timers of an earlier start are ignored.
        self._start = 0

    @property
    def is_open(self) -> bool:
        """Whether it is established, as far as the kernel knows."""
        return self._transport is not None

    @property
    def is_waiting(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._requests)

    @property
    def is_resting(self) -> bool:
        """Whether the client has closed it and will reopen it."""
        return self._resting

    async def connect(self) -> None:
        """Open it, with as many attempts as needed."""
        await retry_forever(self._attempt)

    async def _attempt(self) -> None:
        sock, _ = await self._client.connector.connect(self._conn)
        await self._client.loop.create_connection(lambda: self, sock=sock)

    def start(self, delay_s: float) -> None:
        """Send requests, the first ones after ``delay_s``."""
        client, pattern = self._client, self._client.options.pattern
        now = client.loop.time()
        self._start += 1
        for _ in range(pattern.depth):
            self._send_at(now + delay_s)
        if pattern.work_s is not None:
            client.timers.call_at(now + pattern.work_s, self._rest)

    def end(self) -> None:
        """Ask the server to close, so that TIME_WAIT is on its side and the port is free.

        A next run with the same seed can then use the same source ports.
        """
        self._ended = True
        self._close_gracefully()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. Repeat the last connection's unanswered requests first."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._resting = False
        self._answer.clear()
        port = transport.get_extra_info("sockname")[1]
        self._client.report.established(self._conn, port)
        for request, _ in self._requests:
            transport.write(request)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Called by asyncio. All connections share one small buffer, one at a time.

        ``asyncio.Protocol`` would allocate 256 KiB for each answer of 16 bytes.
        """
        return self._client.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by asyncio. Compare an answer when it is as long as the request."""
        if self._ended and self._transport is not None:
            # An echoed EOT: this server does not know it, but is alive.
            return self._transport.close()
        self._answer += self._client.buffer[:nbytes]
        self._take_answers()

    def _take_answers(self) -> None:
        while self._requests and len(self._answer) >= len(self._requests[0][0]):
            request, due = self._requests.popleft()
            # Data after the last answer count as a part of it: they are an error.
            length = len(request) if self._requests else len(self._answer)
            answer = bytes(self._answer[:length])
            del self._answer[:length]
            self._client.answered(self._conn, request, answer)
            self._send_at(
                max(due + self._client.options.interval_s, self._client.loop.time())
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio. ``exc`` is None after a FIN."""
        self._transport = None
        if self._ended:
            return
        if self._resting:
            return self._client.connection_rests(self, self._conn, exc)
        error = exc if isinstance(exc, OSError) else ServerClosed("the server closed")
        self._client.connection_broken(self, self._conn, error)

    def _close_gracefully(self) -> None:
        if self._transport is not None:
            self._transport.write(EOT)

    def _rest(self) -> None:
        """The burst is over. Close when all requests are answered."""
        if self._client.shutdown.is_set:
            return
        if self._transport is None or self._requests:
            soon = self._client.loop.time() + RECHECK_S
            return self._client.timers.call_at(soon, self._rest)
        self._resting = True
        self._close_gracefully()

    def _send_at(self, due: float) -> None:
        start = self._start
        self._client.timers.call_at(due, lambda: self._send_next(start, due))

    def _send_next(self, start: int, due: float) -> None:
        if self._client.shutdown.is_set or self._resting or start != self._start:
            return
        self._number += 1
        request = self._client.request(self._conn, self._number)
        self._requests.append((request, due))
        if self._transport is not None:
            self._transport.write(request)


class HalfClosedConnection(EchoConnection):
    """A connection whose client has shut down its sending side and still reads."""

    def __init__(self, conn: int, client: EchoClient) -> None:
        super().__init__(conn, client)
        self._received = True
        self._requested = False

    @property
    def is_waiting(self) -> bool:
        """Whether the next line is outstanding. Used from the end of the run on."""
        if self._client.shutdown.is_set and not self._requested:
            self._requested, self._received = True, False
        return not self._received

    def start(self, delay_s: float) -> None:
        """Does nothing: the only request is sent when the connection opens."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. Request a line every interval, and shut down sending."""
        super().connection_made(transport)
        assert self._transport is not None
        interval_ms = max(1, round(self._client.options.interval_s * 1000))
        line = self._client.request(self._conn, 0)
        self._transport.write(line + DC1 + b"%d\n" % interval_ms)
        self._transport.write_eof()

    def _take_answers(self) -> None:
        line = self._client.request(self._conn, 0)
        while len(self._answer) >= len(line):
            self._client.answered(self._conn, line, bytes(self._answer[: len(line)]))
            del self._answer[: len(line)]
            self._received = True

    def _close_gracefully(self) -> None:
        """It cannot send EOT. Abort, unless it hangs: :meth:`EchoClient.run` counts that."""
        if self._transport is not None and self._received:
            self._transport.abort()


class EchoClient:
    """All connections of this process, and the end of the run."""

    def __init__(self, options: ClientOptions, idle_fraction: float) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.timers = TimerQueue(self.loop)
        self.report = ReportWriter(sys.stdout, options.connections)
        self.buffer = bytearray(options.pattern.request_bytes or 4096)
        self.connector = Connector(options, self.report)
        self.shutdown = Shutdown(options)
        kind = HalfClosedConnection if options.pattern.half_closed else EchoConnection
        self._connections = [kind(conn, self) for conn in range(options.connections)]
        self._delays = first_delays(options, idle_fraction)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run to the end. Returns the exit status."""
        for connection, delay in zip(self._connections, self._delays, strict=True):
            self._spawn(connection, delay)
        await self.shutdown.future
        await self._settle(lambda c: c.is_waiting and c.is_open)
        summary = self.report.summary
        summary.disconnected = sum(
            not (c.is_open or c.is_resting) for c in self._connections
        )
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.end()
        summary.hung = await self._settle(lambda c: c.is_open)
        return self.report.finish()

    def request(self, conn: int, number: int) -> bytes:
        """That request of that connection: a line, repeated for large requests."""
        line = b"%05d %09d\n" % (conn, number)
        size = self.options.pattern.request_bytes
        return line if size is None else line * (size // len(line))

    def answered(self, conn: int, request: bytes, answer: bytes) -> None:
        """Count an answer. Report it if it differs from the request."""
        summary = self.report.summary
        summary.acknowledged_writes += 1
        if answer == request:
            summary.verified_writes += 1
        else:
            summary.lost_writes += 1
            shown = slice(SHOWN_BYTES)
            self.report.lost(
                conn, expected=repr(request[shown]), found=repr(answer[shown])
            )

    def connection_broken(
        self, connection: EchoConnection, conn: int, error: OSError
    ) -> None:
        """Report it, and reconnect unless the run ends."""
        self.report.broken(conn, error)
        if self.options.reconnect and not self.shutdown.is_set:
            self._spawn(connection, None)

    def connection_rests(
        self, connection: EchoConnection, conn: int, error: Exception | None
    ) -> None:
        """Its burst is over: reopen it after the pause. The EOT may have been reset."""
        if isinstance(error, OSError):
            self.report.broken(conn, error)
        else:
            self.report.rested(conn)
        when = self.loop.time() + self.options.pattern.rest_s
        self.timers.call_at(when, lambda: self._reopen(connection))

    def _reopen(self, connection: EchoConnection) -> None:
        if not self.shutdown.is_set:
            self._spawn(connection, 0.0)

    def _spawn(self, connection: EchoConnection, delay_s: float | None) -> None:
        """Open the connection, then start it if ``delay_s`` is given."""

        async def open_and_start() -> None:
            await connection.connect()
            if delay_s is not None:
                connection.start(delay_s)

        task = asyncio.create_task(open_and_start())
        self._tasks.add(task)
        self.shutdown.watch(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, pending: Callable[[EchoConnection], bool]) -> int:
        """Wait until no connection is pending. Returns the number that still are.

        It gives up when there was no progress for the grace time.
        """
        remaining = len(self._connections) + 1
        give_up = 0.0
        while self.shutdown.remaining_s(SPARE_S):
            before, remaining = remaining, sum(map(pending, self._connections))
            if remaining < before:
                give_up = self.loop.time() + self.options.grace_s
            if not remaining or self.loop.time() > give_up:
                break
            await asyncio.sleep(0.02)
        return remaining


def first_delays(options: ClientOptions, idle_fraction: float) -> list[float | None]:
    """For each connection, seconds from open to its first request; None for idle ones.

    The seed selects the idle connections, and spreads the others over one interval.
    """
    draw = random.Random(f"{options.seed}/{options.stream}/delays")
    idle = set(
        draw.sample(
            range(options.connections), int(options.connections * idle_fraction)
        )
    )
    delays = [draw.uniform(0, options.interval_s) for _ in range(options.connections)]
    return [None if c in idle else delay for c, delay in enumerate(delays)]


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, float]:
    """The checked command line. Exits with status 2 if it is wrong."""
    parser = make_parser("echo_client.py", TEXT, ECHO_PORT, ECHO_CONNECTIONS)
    parser.add_argument(
        "--idle-fraction",
        type=number(float, 0, 1),
        default=0.0,
        help="share of the connections that are opened and never used",
    )
    args = parser.parse_args(argv)
    return shared_options(parser, args), args.idle_fraction


async def _run(options: ClientOptions, idle_fraction: float) -> int:
    return await EchoClient(options, idle_fraction).run()


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    return asyncio.run(_run(*parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
