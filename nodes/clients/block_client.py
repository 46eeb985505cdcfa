"""A client that writes blocks, reads back, gets reset, reconnects and loses nothing.

It knows no storage protocol: :class:`BlockSession` is all that it asks of one.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from nodes.clients.block_options import Layout
from nodes.clients.client_options import ClientOptions
from nodes.clients.client_report import Journal
from nodes.clients.client_runtime import Dialer, Stop, first_of, persist, within
from nodes.clients.nbd_blocks import Ledger, Verdict, Write

#: Reads in flight at once in the final look, and how long to wait for that many.
VERIFY_BATCH = 64
VERIFY_BATCH_S = 1.0
#: Kept back from the deadline to write the summary and exit.
SPARE_S = 0.5

#: What every block client does, for its ``--help``.
TEXT = """\
Each connection has blocks of its own and goes round them: it reads what it wrote
there last time and compares; writes a block that says which write it is; reads it
back and compares; waits. When a connection is reset it reconnects from the next
source port, writes again what was not acknowledged, and goes on. In the end one fresh
connection reads every block. With several requests outstanding (--pattern pipelined)
a connection's blocks are dealt to as many such rounds, which go on side by side.

verified_writes: found intact every time it was read, the last time just before it was
overwritten or at the end. lost_writes: acknowledged, and once not found. A write in
flight when the run ends may be there or not. unverified_writes: acknowledged, but the
server could not be asked.
"""


class BlockSession(Protocol):
    """One connection to a store of blocks, over a socket of the caller's."""

    #: Done when the connection ended; the result says how. ``ServerClosed`` for an
    #: orderly end, ``ConnectionResetError`` for a reset.
    lost: asyncio.Future[OSError]

    async def handshake(self) -> None:
        """Wait until blocks can be written. Raises ``OSError`` if it came to nothing."""

    @property
    def export_size(self) -> int:
        """Bytes in the store. Valid after :meth:`handshake`."""

    async def write(self, offset: int, data: bytes) -> None:
        """Returns once the write is acknowledged. Raises ``OSError``."""

    async def read(self, offset: int, length: int) -> bytes:
        """The block at ``offset``; empty where there is none. Raises ``OSError``."""

    async def disconnect(self) -> None:
        """Ask the server to end the connection and wait until it did."""

    def close(self) -> None:
        """Let go of the socket, whatever state the connection is in. Call it once."""


#: From a connected socket and its lane to a session that owns the socket.
OpenSession = Callable[[socket.socket, int], BlockSession]


class ExportTooSmallError(Exception):
    """The export ends before this client's region does."""


class Worker:
    """One connection's work, from its first connect to the end of the run."""

    def __init__(self, conn: int, client: BlockClient) -> None:
        self.conn = conn
        self.session: BlockSession | None = None
        self.finished = False
        streams = client.layout.streams
        self.ledgers = {
            stream: Ledger(client.run_id, stream, client.layout.blocks)
            for stream in range(conn * streams, (conn + 1) * streams)
        }
        self._client = client
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Do not begin another write: :meth:`run` returns after the one it is at."""
        self._end.set_result(None)

    async def run(self) -> None:
        """Connect, work, and again when the connection breaks, until the run ends."""
        client = self._client
        while not self._end.done():
            self.session = await persist(lambda: client.connect(self.conn))
            self.finished = False
            try:
                await self._work(self.session)
            except OSError as error:
                client.journal.broken(self.conn, error)
            finally:
                self.session.close()
                self.session = None
            if self.finished and not self._end.done():
                client.journal.rested(self.conn)
                await first_of(self._end, timeout=client.options.pattern.rest_s)
            elif not client.options.reconnect:
                break

    async def _work(self, session: BlockSession) -> None:
        """Until the run ends, or the burst does. Raises ``OSError`` if it broke."""
        work_s = self._client.options.pattern.work_s
        until = None if work_s is None else time.monotonic() + work_s
        tasks = [
            asyncio.create_task(self._stream(session, stream, until))
            for stream in self.ledgers
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await session.disconnect()
        self._raise_if_reset(session)
        self.finished = True

    async def _stream(
        self, session: BlockSession, stream: int, until: float | None
    ) -> None:
        """One request after the other until then, a time of ``time.monotonic``."""
        while not self._end.done() and (until is None or time.monotonic() < until):
            await self._step(session, stream)
            await first_of(
                session.lost, self._end, timeout=self._client.options.interval_s
            )
            if session.lost.done():
                raise session.lost.result()

    @staticmethod
    def _raise_if_reset(session: BlockSession) -> None:
        """A goodbye may go astray like any other request: the answer is a reset."""
        if session.lost.done() and isinstance(
            session.lost.result(), ConnectionResetError
        ):
            raise session.lost.result()

    async def _step(self, session: BlockSession, stream: int) -> None:
        """One write, acknowledged: the interrupted one, or else the next."""
        ledger = self.ledgers[stream]
        if ledger.in_flight is None:
            await self._check(session, stream, ledger.next_block)
            ledger.begin()
        write = ledger.in_flight
        assert write is not None
        layout = self._client.layout
        offset = layout.offset(stream, write.block)
        await session.write(offset, write.encode(layout.block_size))
        ledger.acknowledge()
        await self._check(session, stream, write.block)

    async def _check(self, session: BlockSession, stream: int, block: int) -> None:
        ledger = self.ledgers[stream]
        if block in ledger.written_blocks:
            await self._client.check(session, ledger, self.conn, stream, block)


class BlockClient:
    """All connections of this process: shared options, and the end of the run."""

    def __init__(
        self, options: ClientOptions, layout: Layout, open_session: OpenSession
    ) -> None:
        self.options = options
        self.layout = layout
        self._open_session = open_session
        self.run_id = time.time_ns()
        self.journal = Journal(sys.stdout, options.connections)
        self.stop = Stop(options)
        self._dialer = Dialer(options, self.journal)
        self._workers = [Worker(conn, self) for conn in range(options.connections)]

    async def run(self) -> int:
        """The whole run. The exit status."""
        tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
        for task in tasks:
            self.stop.watch(task)
        await self.stop.future
        await self._finish(tasks)
        return self._summarise()

    async def connect(self, conn: int) -> BlockSession:
        """Connection ``conn``, open and reported. Raises ``OSError``, reported too."""
        session, port = await self._open(conn)
        self.journal.established(conn, port)
        return session

    async def check(
        self, session: BlockSession, ledger: Ledger, conn: int, stream: int, block: int
    ) -> None:
        """Read that block of that stream and compare it.

        It is reported, as ``conn``'s, if it is not as acknowledged.
        """
        layout = self.layout
        data = await session.read(layout.offset(stream, block), layout.block_size)
        if not ledger.judge(block, data):
            expected, found = ledger.expected(block), Write.decode(data)
            self.journal.lost(conn, expected=str(expected), found=str(found))

    async def _open(self, lane: int) -> tuple[BlockSession, int]:
        sock, port = await self._dialer.dial(lane)
        session = self._open_session(sock, lane)
        try:
            await within(self.options.connect_timeout_s, session.handshake())
            self._check_size(session.export_size)
        except BaseException as error:
            session.close()
            if isinstance(error, OSError):
                self.journal.failed(lane, port, error)
            raise
        return session, port

    def _check_size(self, size: int) -> None:
        end = self.layout.end(self.options.connections)
        if size < end:
            raise ExportTooSmallError(
                f"the export has {size} bytes, this client's region ends at {end}"
            )

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let each connection finish its write; give up those that do not."""
        for worker in self._workers:
            worker.end()
        done, late = await asyncio.wait(tasks, timeout=self.options.grace_s)
        for task in done:
            task.result()
        summary = self.journal.summary
        for worker in self._workers:
            if not worker.finished:
                summary.hung += worker.session is not None
                summary.disconnected += worker.session is None
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        try:
            await within(self.stop.remaining_s(SPARE_S), persist(self._verify))
        except TimeoutError:
            pass  # what could not be read counts as unverified

    async def _verify(self) -> None:
        """Read every acknowledged block over a fresh connection. Raises ``OSError``."""
        todo = [
            (ledger, worker.conn, stream, block)
            for worker in self._workers
            for stream, ledger in worker.ledgers.items()
            for block in ledger.written_blocks
        ]
        for ledger in self._ledgers:
            ledger.reopen()
        session, port = await self._open(lane := self.options.connections)
        try:
            for first in range(0, len(todo), VERIFY_BATCH):
                batch = [
                    self.check(session, *one)
                    for one in todo[first : first + VERIFY_BATCH]
                ]
                await within(VERIFY_BATCH_S, asyncio.gather(*batch))
            await within(VERIFY_BATCH_S, session.disconnect())
        except OSError as error:
            self.journal.failed(lane, port, error)
            raise
        finally:
            session.close()

    @property
    def _ledgers(self) -> list[Ledger]:
        return [ledger for one in self._workers for ledger in one.ledgers.values()]

    def _summarise(self) -> int:
        summary = self.journal.summary
        for ledger in self._ledgers:
            summary.verified_writes += ledger.count(Verdict.VERIFIED)
            summary.lost_writes += ledger.count(Verdict.LOST)
            summary.unverified_writes += ledger.count(Verdict.UNVERIFIED)
        summary.acknowledged_writes = (
            summary.verified_writes + summary.lost_writes + summary.unverified_writes
        )
        return self.journal.finish()


def run_block_client(
    prog: str, options: ClientOptions, layout: Layout, open_session: OpenSession
) -> int:
    """Run a client of one protocol to its end. The exit status, as ``--help`` tells."""

    async def run() -> int:
        return await BlockClient(options, layout, open_session).run()

    try:
        return asyncio.run(run())
    except ExportTooSmallError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
