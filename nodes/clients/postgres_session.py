"""One PostgreSQL session whose transactions hold locks: libpq, by psycopg, on asyncio."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from nodes.clients.client_report import ServerClosed
from nodes.clients.client_runtime import TCP_CLOSE
from nodes.clients.lock_session import Account, Stored

#: The local port range of the caller's network namespace (ip-sysctl). libpq cannot be told
#: a source port, so the range has one port while it connects.
PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_TAKE = (
    "select pg_advisory_xact_lock(%(own)s)",
    "update accounts set balance = balance - 1 where id = %(own)s",
)
_STORED = """\
select coalesce((select max(number) from ledger where id = %(own)s), 0),
       (select count(*) from ledger where id = %(own)s),
       (select balance from accounts where id = %(own)s),
       (select balance from accounts where id = %(other)s)"""


class PostgresSession:
    """A session on one connection. It implements ``LockSession``.

    The lock is a row lock and an advisory lock of one transaction; :meth:`give` commits.
    """

    def __init__(self, connection: psycopg.AsyncConnection[tuple[int, ...]]) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        #: A file of the session's socket that stays open until :meth:`close`: libpq closes
        #: its own when the connection breaks, and with it the reason would be gone.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        #: Done when the connection has ended; see :class:`LockSession`.
        self.closed: asyncio.Future[OSError] = self._loop.create_future()

    async def take(self, account: Account, wait_s: float) -> bool:
        """Begin a transaction and lock the account's row. False: another session has it.

        Raises ``OSError`` if the connection has ended.
        """
        try:
            await self._ask("begin", account)
            await self._ask(f"set local lock_timeout = {round(wait_s * 1000)}", account)
            for statement in _TAKE:
                await self._ask(statement, account)
        except psycopg.errors.LockNotAvailable:
            await self._ask("rollback", account)
            return False
        return True

    async def stored(self, account: Account) -> Stored:
        """The last change of the account that was committed. Raises ``OSError``."""
        last, count, own, other = await self._fetch(_STORED, account)
        return Stored(last, whole=last == count == other == -own)

    async def undo(self, account: Account) -> None:
        """End the transaction without a change. Raises ``OSError``."""
        await self._ask("rollback", account)

    async def change(self, account: Account, number: int) -> None:
        """Write change ``number``. It is not stored before :meth:`give`."""
        await self._ask(
            "update accounts set balance = balance + 1 where id = %(other)s", account
        )
        await self._ask(f"insert into ledger values (%(own)s, {number})", account)

    async def touch(self, account: Account) -> None:
        """A request that changes nothing, inside the transaction."""
        await self._ask("select 1", account)

    async def give(self, account: Account) -> None:
        """Commit: what was written is stored, and the locks are released."""
        await self._ask("commit", account)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self._connection.pgconn.finish()
        self.closed.cancel()
        self._socket.close()

    async def _ask(self, statement: str, account: Account) -> None:
        await self._execute(statement, account)

    async def _fetch(self, statement: str, account: Account) -> tuple[int, ...]:
        row = await (await self._execute(statement, account)).fetchone()
        assert row is not None, "each query has one row"
        return row

    async def _execute(
        self, statement: str, account: Account
    ) -> psycopg.AsyncCursor[tuple[int, ...]]:
        try:
            return await self._connection.execute(
                statement.encode(), {"own": account.own, "other": account.other}
            )
        except psycopg.errors.LockNotAvailable:
            raise
        except psycopg.OperationalError as error:
            raise self._end(error) from error

    def _end(self, error: psycopg.OperationalError) -> OSError:
        """The reason of the end, by the kernel: libpq has consumed the socket's error."""
        state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        reason: OSError = ServerClosed(str(error).strip() or "the server closed")
        if state == TCP_CLOSE:
            reason = ConnectionResetError(errno.ECONNRESET, "reset by the peer")
        if not self.closed.done():
            self.closed.set_result(reason)
        return reason


async def open_session(
    target: str, port: int, source_port: int, name: str, database: str, user: str
) -> PostgresSession:
    """A session from ``source_port``; ``name``: its application_name.

    Raises ``OSError`` if it cannot be opened. PQconnectStart has sent the SYN when it
    returns, so the port range needs no lock.
    """
    PORT_RANGE_FILE.write_text(f"{source_port} {source_port}\n")
    pgconn = pq.PGconn.connect_start(
        f"hostaddr={target} port={port} dbname={database} user={user} "
        f"application_name={name} keepalives_idle=1 keepalives_interval=1 "
        f"sslmode=disable gssencmode=disable".encode()
    )
    try:
        await _connected(pgconn)
    except BaseException:
        pgconn.finish()
        raise
    connection: psycopg.AsyncConnection[tuple[int, ...]] = psycopg.AsyncConnection(
        pgconn
    )
    await connection.set_autocommit(True)
    return PostgresSession(connection)


async def _connected(pgconn: PGconn) -> None:
    """Drive libpq until the session is open (PQconnectPoll). Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    status = pq.PollingStatus.WRITING
    while status is not pq.PollingStatus.OK:
        if status is pq.PollingStatus.FAILED or pgconn.status == pq.ConnStatus.BAD:
            raise ConnectionError(pgconn.error_message.decode(errors="replace").strip())
        ready: asyncio.Future[None] = loop.create_future()
        watch, unwatch = (
            (loop.add_reader, loop.remove_reader)
            if status is pq.PollingStatus.READING
            else (loop.add_writer, loop.remove_writer)
        )
        descriptor = pgconn.socket
        watch(descriptor, _done, ready)
        try:
            await ready
        finally:
            unwatch(descriptor)
        status = pq.PollingStatus(pgconn.connect_poll())


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
