"""A client whose connections hold locks, make changes under them, and reconnect.

It is independent of the protocol: :class:`~nodes.clients.lock_session.LockSession` is its
interface. What it shows is the wait of a client that was reset for *its own* lock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodes.clients.client_options import ClientOptions
from nodes.clients.client_ports import SourcePorts
from nodes.clients.client_report import ReportWriter
from nodes.clients.client_runtime import (
    Shutdown,
    end_workers,
    retry_forever,
    wait_any,
    with_timeout,
)
from nodes.clients.lock_session import Account, LockSession

#: Requests under one lock, a pause after each: nearly all the time a lock is held.
TOUCHES = 20
#: How long the server is asked to wait for a lock before it is asked again, in seconds.
WAIT_S = 0.25
#: Time reserved before the deadline, to write the summary and exit.
SPARE_S = 0.5

#: Description of every lock client, for its ``--help``.
TEXT = """\
Each connection has an account of its own, and in turn: takes the account's lock, makes a
change, sends requests that change nothing, and gives the lock back, which makes the change
permanent. When a connection is reset, it reconnects from the next source port and asks for
its own lock again. With the lock it looks whether the interrupted change was stored, and
makes it only if it was not. At the end a new connection looks at every account.

"lock-asked", "lock-granted" (waited_ms) and "lock-unmet" (still waiting at the end, or cut
off while it waited) tell of the first lock of each connection. In the summary a write is
one change; acknowledged means that giving the lock back succeeded, or that the change was
found afterwards. lost_writes: acknowledged, but not there, or there twice.
"""

#: Opens a session of a connection, by its number, from a source port. The number after the
#: last is the connection for the final look.
OpenSession = Callable[[int, int], Awaitable[LockSession]]


@dataclass
class Progress:
    """Changes of one account: acknowledged ones, and the one whose fate is open."""

    acknowledged: int = 0
    in_flight: int | None = None

    def begin(self) -> int:
        """The number of the next change."""
        self.in_flight = self.acknowledged + 1
        return self.in_flight

    def acknowledge(self) -> None:
        """The change in flight is stored."""
        self.acknowledged += 1
        self.in_flight = None

    def resolve(self, last: int) -> None:
        """``last``: the number of the last change that is stored."""
        if self.in_flight is not None and last >= self.in_flight:
            self.acknowledge()
        self.in_flight = None


class LockWorker:
    """The work of one connection, from its first connect to the end of the run."""

    def __init__(self, conn: int, account: Account, client: LockClient) -> None:
        self.conn = conn
        self.account = account
        self.progress = Progress()
        self.session: LockSession | None = None
        self.finished = False
        self._client = client
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Take no further lock. :meth:`run` returns after the current one."""
        self._end.set_result(None)

    async def run(self) -> None:
        """Connect and work, and reconnect if the connection breaks, until the run ends."""
        client = self._client
        while not self._end.done():
            self.session = await retry_forever(lambda: client.connect(self.conn))
            try:
                await self._work(self.session)
                self.finished = True
            except OSError as error:
                client.report.broken(self.conn, error)
                if not client.options.reconnect:
                    return
            finally:
                self.session.close()
                self.session = None

    async def _work(self, session: LockSession) -> None:
        """One lock after the other until the run ends. Raises ``OSError`` if it broke."""
        if not await self._first_lock(session):
            return
        while True:
            await self._use_lock(session)
            if self._end.done():
                return
            while not await session.take(self.account, WAIT_S):
                if self._end.done():
                    return

    async def _first_lock(self, session: LockSession) -> bool:
        """Ask for the lock until it is there; False at the end of the run."""
        report, began = self._client.report, time.monotonic()
        report.note("lock-asked", self.conn)
        granted = False
        try:
            while not granted and not self._end.done():
                granted = await session.take(self.account, WAIT_S)
        finally:
            waited_ms = round((time.monotonic() - began) * 1000, 3)
            kind = "lock-granted" if granted else "lock-unmet"
            report.note(kind, self.conn, waited_ms=waited_ms)
        return granted

    async def _use_lock(self, session: LockSession) -> None:
        if self.progress.in_flight is not None:
            self.progress.resolve((await session.stored(self.account)).last)
        await session.change(self.account, self.progress.begin())
        for _ in range(TOUCHES):
            await wait_any(
                session.closed, self._end, timeout=self._client.options.interval_s
            )
            if self._end.done():
                break
            await session.touch(self.account)
        await session.give(self.account)
        self.progress.acknowledge()


class LockClient:
    """All connections of this process, and the end of the run."""

    def __init__(
        self,
        options: ClientOptions,
        accounts: Callable[[int], Account],
        open_session: OpenSession,
    ) -> None:
        """``accounts``: the account of each connection, from its number."""
        self.options = options
        self.report = ReportWriter(sys.stdout, options.connections)
        self._open_session = open_session
        self._shutdown = Shutdown(options)
        slots = options.connections + 1
        self._ports = SourcePorts(options.seed, options.stream, slots)
        self._workers = [
            LockWorker(conn, accounts(conn), self)
            for conn in range(options.connections)
        ]

    async def run(self) -> int:
        """Run to the end. Returns the exit status."""
        tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
        for task in tasks:
            self._shutdown.watch(task)
        await self._shutdown.future
        await self._finish(tasks)
        return self.report.finish()

    async def connect(self, slot: int) -> LockSession:
        """Open connection ``slot`` and report it. Raises ``OSError``, also reported."""
        session, port = await self._open(slot)
        self.report.established(slot, port)
        return session

    async def _open(self, slot: int) -> tuple[LockSession, int]:
        family = self.options.family
        sock, port = self._ports.bind(
            slot, family, lambda port: self.report.skipped(slot, port)
        )
        sock.close()  # the library opens its own, from the same port
        try:
            session = await with_timeout(
                self.options.connect_timeout_s, self._open_session(slot, port)
            )
        except OSError as error:
            self.report.failed(slot, port, error)
            raise
        return session, port

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until each connection has given its lock back, up to the grace time."""
        summary = self.report.summary
        await end_workers(self._workers, tasks, self.options.grace_s, summary)
        for worker in self._workers:
            summary.acknowledged_writes += worker.progress.acknowledged
        try:
            await with_timeout(
                self._shutdown.remaining_s(SPARE_S), retry_forever(self._verify)
            )
        except TimeoutError:
            pass  # what was not looked at counts as unverified
        summary.unverified_writes = (
            summary.acknowledged_writes - summary.verified_writes - summary.lost_writes
        )

    async def _verify(self) -> None:
        """Look at every account over a new connection. Raises ``OSError``."""
        summary = self.report.summary
        summary.verified_writes = summary.lost_writes = 0
        session, _ = await self._open(self.options.connections)
        try:
            for worker in self._workers:
                stored = await session.stored(worker.account)
                promised = worker.progress.acknowledged
                missing = max(0, promised - stored.last)
                if not stored.whole:
                    missing = promised
                if missing:
                    self.report.lost(
                        worker.conn, acknowledged=promised, stored=stored.last
                    )
                summary.lost_writes += missing
                summary.verified_writes += promised - missing
        finally:
            session.close()


def run_lock_client(
    options: ClientOptions,
    accounts: Callable[[int], Account],
    open_session: OpenSession,
) -> int:
    """Run a client of one protocol to its end. Returns the exit status of ``--help``."""

    async def run() -> int:
        return await LockClient(options, accounts, open_session).run()

    return asyncio.run(run())
