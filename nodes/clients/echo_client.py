#!/usr/bin/env python3
"""An echo client for many connections: numbered requests, each answer compared."""

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
from nodes.clients.client_report import Journal, ServerClosed
from nodes.clients.client_runtime import Agenda, Dialer, Stop, persist
from nodes.servers.echo_server import DC1, ECHO_PORT, EOT

#: Kept back from the deadline to exit.
SPARE_S = 0.5
#: When a burst is over and something is not answered yet.
LOOK_AGAIN_S = 0.02
#: Of a wrong answer, in the report.
SHOWN_BYTES = 64

TEXT = """\
N connections to a TCP echo service. Each sends a small numbered request every
interval, from an instant of its own that the seed fixes, and compares the answer; no
more than one is outstanding, unless the pattern says how many. When a connection is
reset it reconnects from the next source port and sends again what was not answered.
With --pattern half-closed it sends one request, for a line every interval, and shuts
down its side; a request is a line that came then.

In the summary a write is one request. acknowledged_writes: answered in full.
verified_writes: answered as it should be. lost_writes: answered with anything else. A
request that was not answered at all counts in none of them: see hung. An echo service
keeps nothing, so nothing is looked at again at the end.
"""


class EchoConnection(asyncio.BufferedProtocol):
    """One connection of the client, over as many TCP connections as it takes."""

    def __init__(self, conn: int, client: EchoClient) -> None:
        self._conn = conn
        self._client = client
        self._transport: asyncio.WriteTransport | None = None
        self._number = 0
        #: What was sent and not answered, in order, and when each was due.
        self._requests: deque[tuple[bytes, float]] = deque()
        self._answer = bytearray()
        self._ended = False
        self._resting = False
        #: Counts the times that it was started: what is due from before is not any more.
        self._start = 0

    @property
    def is_open(self) -> bool:
        """Whether it is established, for all that the kernel knows."""
        return self._transport is not None

    @property
    def is_waiting(self) -> bool:
        """Whether a request has been sent that was not answered."""
        return bool(self._requests)

    @property
    def is_resting(self) -> bool:
        """Whether the client has ended it, to open another one later."""
        return self._resting

    async def connect(self) -> None:
        """Open it, however many attempts that takes."""
        await persist(self._attempt)

    async def _attempt(self) -> None:
        sock, _ = await self._client.dialer.dial(self._conn)
        await self._client.loop.create_connection(lambda: self, sock=sock)

    def start(self, delay_s: float) -> None:
        """Send requests, the first ones in ``delay_s``."""
        client, pattern = self._client, self._client.options.pattern
        now = client.loop.time()
        self._start += 1
        for _ in range(pattern.depth):
            self._send_at(now + delay_s)
        if pattern.work_s is not None:
            client.agenda.call_at(now + pattern.work_s, self._rest)

    def end(self) -> None:
        """Ask the server to close, so that TIME_WAIT is its, and the port free again.

        The same seed then finds the same source ports in the next run.
        """
        self._ended = True
        self._say_goodbye()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. A request that the last connection took down goes first."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._resting = False
        self._answer.clear()
        port = transport.get_extra_info("sockname")[1]
        self._client.journal.established(self._conn, port)
        for request, _ in self._requests:
            transport.write(request)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Called by asyncio. One small buffer serves every connection, one at a time.

        Plain ``asyncio.Protocol`` makes a buffer of 256 KiB for each 16-byte answer.
        """
        return self._client.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by asyncio. Compare an answer once it is as long as the request."""
        if self._ended and self._transport is not None:
            # An answer to EOT: the server knows nothing of it, but lives.
            return self._transport.close()
        self._answer += self._client.buffer[:nbytes]
        self._take_answers()

    def _take_answers(self) -> None:
        while self._requests and len(self._answer) >= len(self._requests[0][0]):
            request, due = self._requests.popleft()
            # Nothing may follow the last answer: it belongs to what is compared.
            length = len(request) if self._requests else len(self._answer)
            answer = bytes(self._answer[:length])
            del self._answer[:length]
            self._client.answered(self._conn, request, answer)
            self._send_at(
                max(due + self._client.options.interval_s, self._client.loop.time())
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio, ``exc`` None for an orderly end."""
        self._transport = None
        if self._ended:
            return
        if self._resting:
            return self._client.connection_rests(self, self._conn, exc)
        error = exc if isinstance(exc, OSError) else ServerClosed("the server closed")
        self._client.connection_broken(self, self._conn, error)

    def _say_goodbye(self) -> None:
        if self._transport is not None:
            self._transport.write(EOT)

    def _rest(self) -> None:
        """The burst is over: close as soon as everything was answered."""
        if self._client.stop.is_set:
            return
        if self._transport is None or self._requests:
            soon = self._client.loop.time() + LOOK_AGAIN_S
            return self._client.agenda.call_at(soon, self._rest)
        self._resting = True
        self._say_goodbye()

    def _send_at(self, due: float) -> None:
        start = self._start
        self._client.agenda.call_at(due, lambda: self._send_next(start, due))

    def _send_next(self, start: int, due: float) -> None:
        if self._client.stop.is_set or self._resting or start != self._start:
            return
        self._number += 1
        request = self._client.request(self._conn, self._number)
        self._requests.append((request, due))
        if self._transport is not None:
            self._transport.write(request)


class Reader(EchoConnection):
    """A connection whose client has shut down its own side and reads on."""

    def __init__(self, conn: int, client: EchoClient) -> None:
        super().__init__(conn, client)
        self._heard = True
        self._asked = False

    @property
    def is_waiting(self) -> bool:
        """Whether the next line is awaited: asked when the run ends, and from then on."""
        if self._client.stop.is_set and not self._asked:
            self._asked, self._heard = True, False
        return not self._heard

    def start(self, delay_s: float) -> None:
        """Nothing: the one request goes with the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. Ask for a line every interval, and send no more."""
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
            self._heard = True

    def _say_goodbye(self) -> None:
        """It cannot say any: let go, unless it hangs, which :meth:`EchoClient.run` counts."""
        if self._transport is not None and self._heard:
            self._transport.abort()


class EchoClient:
    """All connections of this process: shared options, and the end of the run."""

    def __init__(self, options: ClientOptions, idle_fraction: float) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.agenda = Agenda(self.loop)
        self.journal = Journal(sys.stdout, options.connections)
        self.buffer = bytearray(options.pattern.request_bytes or 4096)
        self.dialer = Dialer(options, self.journal)
        self.stop = Stop(options)
        kind = Reader if options.pattern.half_closed else EchoConnection
        self._connections = [kind(conn, self) for conn in range(options.connections)]
        self._delays = first_delays(options, idle_fraction)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """The whole run. The exit status."""
        for connection, delay in zip(self._connections, self._delays, strict=True):
            self._spawn(connection, delay)
        await self.stop.future
        await self._settle(lambda c: c.is_waiting and c.is_open)
        summary = self.journal.summary
        summary.disconnected = sum(
            not (c.is_open or c.is_resting) for c in self._connections
        )
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.end()
        summary.hung = await self._settle(lambda c: c.is_open)
        return self.journal.finish()

    def request(self, conn: int, number: int) -> bytes:
        """That request of that connection: a line, over and over if it is a large one."""
        line = b"%05d %09d\n" % (conn, number)
        size = self.options.pattern.request_bytes
        return line if size is None else line * (size // len(line))

    def answered(self, conn: int, request: bytes, answer: bytes) -> None:
        """Count an answer, and report one that is not what was sent."""
        summary = self.journal.summary
        summary.acknowledged_writes += 1
        if answer == request:
            summary.verified_writes += 1
        else:
            summary.lost_writes += 1
            shown = slice(SHOWN_BYTES)
            self.journal.lost(
                conn, expected=repr(request[shown]), found=repr(answer[shown])
            )

    def connection_broken(
        self, connection: EchoConnection, conn: int, error: OSError
    ) -> None:
        """Report it, and open it again unless the run ends."""
        self.journal.broken(conn, error)
        if self.options.reconnect and not self.stop.is_set:
            self._spawn(connection, None)

    def connection_rests(
        self, connection: EchoConnection, conn: int, error: Exception | None
    ) -> None:
        """Its burst is over: open it anew after the pause. A goodbye may be reset."""
        if isinstance(error, OSError):
            self.journal.broken(conn, error)
        else:
            self.journal.rested(conn)
        when = self.loop.time() + self.options.pattern.rest_s
        self.agenda.call_at(when, lambda: self._open_anew(connection))

    def _open_anew(self, connection: EchoConnection) -> None:
        if not self.stop.is_set:
            self._spawn(connection, 0.0)

    def _spawn(self, connection: EchoConnection, delay_s: float | None) -> None:
        """Open the connection; after that, where ``delay_s`` is given, start it."""

        async def open_and_start() -> None:
            await connection.connect()
            if delay_s is not None:
                connection.start(delay_s)

        task = asyncio.create_task(open_and_start())
        self._tasks.add(task)
        self.stop.watch(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, pending: Callable[[EchoConnection], bool]) -> int:
        """Wait until no connection is pending, or no more of them settle; how many.

        Ten thousand may take their time, as long as there is progress within the grace.
        """
        left = len(self._connections) + 1
        give_up = 0.0
        while self.stop.remaining_s(SPARE_S):
            before, left = left, sum(map(pending, self._connections))
            if left < before:
                give_up = self.loop.time() + self.options.grace_s
            if not left or self.loop.time() > give_up:
                break
            await asyncio.sleep(0.02)
        return left


def first_delays(options: ClientOptions, idle_fraction: float) -> list[float | None]:
    """For each connection, seconds from open to its first request; None: it has none.

    The seed says which connections idle, and spreads the others over one interval.
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
    """The command line, checked. Exits with status 2 if it is wrong."""
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
    """Run the client. The exit status, as ``--help`` tells."""
    return asyncio.run(_run(*parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
