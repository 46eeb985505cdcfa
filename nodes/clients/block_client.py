"""A client that writes and verifies blocks, and reconnects after a reset.

It is independent of the storage protocol: :class:`BlockSession` is its interface.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from nodes.clients.block_log import BlockLog, BlockWrite, WriteStatus
from nodes.clients.block_options import Layout
from nodes.clients.client_options import ClientOptions
from nodes.clients.client_report import ReportWriter
from nodes.clients.client_runtime import (
    Connector,
    Shutdown,
    end_workers,
    retry_forever,
    wait_any,
    with_timeout,
)

#: Reads in flight in the final verification, and the time limit for each batch.
VERIFY_BATCH = 64
VERIFY_BATCH_S = 1.0
#: Time reserved before the deadline, to write the summary and exit.
SPARE_S = 0.5

#: Description of every block client, for its ``--help``.
TEXT = """\
Each connection writes its own blocks in turn. It reads the block and compares it with
its last write; writes the block again, with the number of the write; reads it back and
compares; waits. When a connection is reset, it reconnects from the next source port,
repeats the write that was not acknowledged, and continues. At the end, one new
connection reads every block. With several requests outstanding (--pattern pipelined),
the blocks of a connection are divided among as many parallel sequences.

verified_writes: found intact at every read, the last one just before it was overwritten
or at the end. lost_writes: acknowledged, but not found at some read. A write in flight
at the end of the run may be found or not. unverified_writes: acknowledged, but not
verified, because the server did not answer.
"""


class BlockSession(Protocol):
    """One connection to a store of blocks, over a socket of the caller."""

    #: Done when the connection has ended. The result is ``ServerClosed`` after a FIN,
    #: ``ConnectionResetError`` after a reset.
    closed: asyncio.Future[OSError]

    async def handshake(self) -> None:
        """Wait until blocks can be written. Raises ``OSError`` if the handshake failed."""

    @property
    def export_size(self) -> int:
        """Size of the store in bytes. Valid after :meth:`handshake`."""

    async def write(self, offset: int, data: bytes) -> None:
        """Returns once the write is acknowledged. Raises ``OSError``."""

    async def read(self, offset: int, length: int) -> bytes:
        """The block at ``offset``; empty if there is none. Raises ``OSError``."""

    async def disconnect(self) -> None:
        """Ask the server to end the connection, and wait for the end."""

    def close(self) -> None:
        """Close the socket in any state. Call it once."""


#: Creates a session that owns a connected socket, from that socket and its slot.
OpenSession = Callable[[socket.socket, int], BlockSession]


class ExportTooSmallError(Exception):
    """The export is too small for this client's region."""


class Worker:
    """The work of one connection, from its first connect to the end of the run."""

    def __init__(self, conn: int, client: BlockClient) -> None:
        self.conn = conn
        self.session: BlockSession | None = None
        self.finished = False
        streams = client.layout.streams
        self.logs = {
            stream: BlockLog(client.run_id, stream, client.layout.blocks)
            for stream in range(conn * streams, (conn + 1) * streams)
        }
        self._client = client
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Start no further write. :meth:`run` returns after the current one."""
        self._end.set_result(None)

    async def run(self) -> None:
        """Connect and work, and reconnect if the connection breaks, until the run ends."""
        client = self._client
        while not self._end.done():
            self.session = await retry_forever(lambda: client.connect(self.conn))
            self.finished = False
            try:
                await self._work(self.session)
            except OSError as error:
                client.report.broken(self.conn, error)
            finally:
                self.session.close()
                self.session = None
            if self.finished and not self._end.done():
                client.report.rested(self.conn)
                await wait_any(self._end, timeout=client.options.pattern.rest_s)
            elif not client.options.reconnect:
                break

    async def _work(self, session: BlockSession) -> None:
        """Work until the run or the burst ends. Raises ``OSError`` if it broke."""
        work_s = self._client.options.pattern.work_s
        until = None if work_s is None else time.monotonic() + work_s
        tasks = [
            asyncio.create_task(self._stream(session, stream, until))
            for stream in self.logs
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
        """Send one request after the other until then (``time.monotonic``)."""
        while not self._end.done() and (until is None or time.monotonic() < until):
            await self._step(session, stream)
            await wait_any(
                session.closed, self._end, timeout=self._client.options.interval_s
            )
            if session.closed.done():
                raise session.closed.result()

    @staticmethod
    def _raise_if_reset(session: BlockSession) -> None:
        """A disconnect request may be a stray too, and be answered by a reset."""
        if session.closed.done() and isinstance(
            session.closed.result(), ConnectionResetError
        ):
            raise session.closed.result()

    async def _step(self, session: BlockSession, stream: int) -> None:
        """One acknowledged write: the interrupted one, if any, or the next."""
        log = self.logs[stream]
        if log.in_flight is None:
            await self._check(session, stream, log.next_block)
            log.begin()
        write = log.in_flight
        assert write is not None
        layout = self._client.layout
        offset = layout.offset(stream, write.block)
        await session.write(offset, write.encode(layout.block_size))
        log.acknowledge()
        await self._check(session, stream, write.block)

    async def _check(self, session: BlockSession, stream: int, block: int) -> None:
        log = self.logs[stream]
        if block in log.written_blocks:
            await self._client.check(session, log, self.conn, stream, block)


class BlockClient:
    """All connections of this process, and the end of the run."""

    def __init__(
        self, options: ClientOptions, layout: Layout, open_session: OpenSession
    ) -> None:
        self.options = options
        self.layout = layout
        self._open_session = open_session
        self.run_id = time.time_ns()
        self.report = ReportWriter(sys.stdout, options.connections)
        self.shutdown = Shutdown(options)
        self._connector = Connector(options, self.report)
        self._workers = [Worker(conn, self) for conn in range(options.connections)]

    async def run(self) -> int:
        """Run to the end. Returns the exit status."""
        tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
        for task in tasks:
            self.shutdown.watch(task)
        await self.shutdown.future
        await self._finish(tasks)
        return self._summarise()

    async def connect(self, conn: int) -> BlockSession:
        """Open connection ``conn`` and report it. Raises ``OSError``, also reported."""
        session, port = await self._open(conn)
        self.report.established(conn, port)
        return session

    async def check(
        self, session: BlockSession, log: BlockLog, conn: int, stream: int, block: int
    ) -> None:
        """Read that block of that stream and compare it with the acknowledged write.

        A difference is reported as a lost write of ``conn``.
        """
        layout = self.layout
        data = await session.read(layout.offset(stream, block), layout.block_size)
        if not log.judge(block, data):
            expected, found = log.expected(block), BlockWrite.decode(data)
            self.report.lost(conn, expected=str(expected), found=str(found))

    async def _open(self, slot: int) -> tuple[BlockSession, int]:
        sock, port = await self._connector.connect(slot)
        session = self._open_session(sock, slot)
        try:
            await with_timeout(self.options.connect_timeout_s, session.handshake())
            self._check_size(session.export_size)
        except BaseException as error:
            session.close()
            if isinstance(error, OSError):
                self.report.failed(slot, port, error)
            raise
        return session, port

    def _check_size(self, size: int) -> None:
        end = self.layout.end(self.options.connections)
        if size < end:
            raise ExportTooSmallError(
                f"the export has {size} bytes, this client's region ends at {end}"
            )

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until each connection has finished its write, up to the grace time."""
        summary = self.report.summary
        await end_workers(self._workers, tasks, self.options.grace_s, summary)
        try:
            await with_timeout(
                self.shutdown.remaining_s(SPARE_S), retry_forever(self._verify)
            )
        except TimeoutError:
            pass  # blocks that were not read count as unverified

    async def _verify(self) -> None:
        """Read every acknowledged block over a new connection. Raises ``OSError``."""
        todo = [
            (log, worker.conn, stream, block)
            for worker in self._workers
            for stream, log in worker.logs.items()
            for block in log.written_blocks
        ]
        for log in self._logs:
            log.reopen()
        session, port = await self._open(slot := self.options.connections)
        try:
            for first in range(0, len(todo), VERIFY_BATCH):
                batch = [
                    self.check(session, *one)
                    for one in todo[first : first + VERIFY_BATCH]
                ]
                await with_timeout(VERIFY_BATCH_S, asyncio.gather(*batch))
            await with_timeout(VERIFY_BATCH_S, session.disconnect())
        except OSError as error:
            self.report.failed(slot, port, error)
            raise
        finally:
            session.close()

    @property
    def _logs(self) -> list[BlockLog]:
        return [log for one in self._workers for log in one.logs.values()]

    def _summarise(self) -> int:
        summary = self.report.summary
        for log in self._logs:
            summary.verified_writes += log.count(WriteStatus.VERIFIED)
            summary.lost_writes += log.count(WriteStatus.LOST)
            summary.unverified_writes += log.count(WriteStatus.UNVERIFIED)
        summary.acknowledged_writes = (
            summary.verified_writes + summary.lost_writes + summary.unverified_writes
        )
        return self.report.finish()


def run_block_client(
    prog: str, options: ClientOptions, layout: Layout, open_session: OpenSession
) -> int:
    """Run a client of one protocol to its end. Returns the exit status of ``--help``."""

    async def run() -> int:
        return await BlockClient(options, layout, open_session).run()

    try:
        return asyncio.run(run())
    except ExportTooSmallError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
