"""One NBD connection: libnbd's asynchronous interface on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Callable

import nbd

from nodes.clients.client_report import ServerClosed
from nodes.clients.client_runtime import disconnect_reason, wait_any

#: Open files of a session: libnbd's socket, and the caller's.
FILES_PER_SESSION = 2
#: NBD_CMD_DISC as a request of the NBD protocol: magic, flags, type, cookie, offset,
#: length. It has no reply: the server closes.
DISCONNECT = struct.pack("!IHHQQI", 0x25609513, 0, 2, 0, 0, 0)


class NbdSession:
    """A connection to an NBD export over a socket of the caller.

    No method blocks: many sessions share one thread, and one that hangs does not stop the
    others. See libnbd(3), "Using the asynchronous API".
    """

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._nbd = nbd.NBD()
        self._pending: dict[asyncio.Future[None], int | None] = {}
        self._spare_buffers: defaultdict[int, list[nbd.Buffer]] = defaultdict(list)
        self._reading = self._writing = False
        self._export_size = 0
        # libnbd closes its socket when the connection dies, and the descriptor may be
        # reused. The watched socket is ours and stays open until close().
        self._sock = sock
        #: Done when the connection has ended. The result is ``ServerClosed`` after a FIN,
        #: ``ConnectionResetError`` after a reset.
        self.closed: asyncio.Future[OSError] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._drive(lambda: self._nbd.aio_connect_socket(os.dup(sock.fileno())))

    async def handshake(self) -> None:
        """Wait until commands can be sent. Raises ``OSError`` if the handshake failed."""
        await wait_any(self._ready, self.closed)
        self._raise_if_closed()

    @property
    def export_size(self) -> int:
        """Size of the export in bytes. Valid after :meth:`handshake`."""
        return self._export_size

    async def write(self, offset: int, data: bytes) -> None:
        """Write to stable storage: NBD_CMD_WRITE with NBD_CMD_FLAG_FUA.

        Raises ``OSError``: the server's error, or the end of the connection.
        """
        await self._command(
            lambda done: self._nbd.aio_pwrite(
                data, offset, completion=done, flags=nbd.CMD_FLAG_FUA
            )
        )

    async def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``. Raises ``OSError`` as :meth:`write` does."""
        # libnbd 1.14 never frees a buffer of a read: reuse it for the next read.
        spare = self._spare_buffers[length]
        buffer = spare.pop() if spare else nbd.Buffer(length)
        await self._command(
            lambda done: self._nbd.aio_pread(buffer, offset, completion=done)
        )
        data = bytes(buffer.to_bytearray())
        spare.append(buffer)
        return data

    async def disconnect(self) -> None:
        """Ask the server to end the connection, and wait for the end. Raises nothing.

        Call it without a command in flight. The side that closes first has the 4-tuple in
        TIME_WAIT. That must be the server, so that a next run with the same seed finds
        its source ports free. libnbd's ``aio_disconnect`` would send a FIN as well.
        """
        with contextlib.suppress(OSError):
            if not self.closed.done():
                self._sock.send(DISCONNECT)
                await wait_any(self.closed)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self._unwatch_socket()
        self.closed.cancel()
        self._sock.close()
        del self._nbd  # the binding has no close(): dropping the last reference closes

    async def _command(self, issue: Callable[[Callable[[nbd.Int], int]], int]) -> None:
        self._raise_if_closed()
        done: asyncio.Future[None] = self._loop.create_future()
        self._pending[done] = None

        def complete(error: nbd.Int) -> int:
            # libnbd holds its lock here: only record the result.
            self._pending[done] = error.value
            return 1

        self._drive(lambda: issue(complete))
        await done

    def _raise_if_closed(self) -> None:
        if self.closed.done():
            raise self.closed.result()

    def _drive(self, step: Callable[[], object]) -> None:
        """Let libnbd do one step, then handle the results."""
        try:
            step()
        except nbd.Error as error:
            return self._end(OSError(error.errnum or errno.EIO, error.string))
        if self._nbd.aio_is_closed():
            return self._end(ServerClosed("the server closed the connection"))
        if self._nbd.aio_is_dead():
            return self._end(disconnect_reason(self._sock))
        if not self._ready.done() and self._nbd.aio_is_ready():
            # Read now: a reset may arrive before the waiting task runs, and a dead
            # connection does not return its size.
            self._export_size = int(self._nbd.get_size())
            self._ready.set_result(None)
        self._settle()
        self._watch_socket()

    def _settle(self) -> None:
        """Complete the futures of finished commands."""
        for future, code in list(self._pending.items()):
            if code is None:
                continue
            del self._pending[future]
            if future.done():
                continue
            if code:
                future.set_exception(OSError(code, f"server error {code}"))
            else:
                future.set_result(None)

    def _end(self, error: OSError) -> None:
        """The connection has ended. Fail all commands in flight."""
        self._unwatch_socket()
        if not self.closed.done():
            self.closed.set_result(error)
        for future in self._pending:
            if not future.done():
                future.set_exception(error)
        self._pending.clear()

    def _watch_socket(self) -> None:
        """Watch for the events that libnbd waits for. They may change at every step."""
        wants = self._nbd.aio_get_direction()
        reading = bool(wants & nbd.AIO_DIRECTION_READ)
        writing = bool(wants & nbd.AIO_DIRECTION_WRITE)
        if reading and not self._reading:
            self._loop.add_reader(self._sock, self._readable)
        if self._reading and not reading:
            self._loop.remove_reader(self._sock)
        if writing and not self._writing:
            self._loop.add_writer(self._sock, self._writable)
        if self._writing and not writing:
            self._loop.remove_writer(self._sock)
        self._reading, self._writing = reading, writing

    def _unwatch_socket(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._reading = self._writing = False

    def _readable(self) -> None:
        if self._reading:
            self._drive(self._nbd.aio_notify_read)

    def _writable(self) -> None:
        if self._writing:
            self._drive(self._nbd.aio_notify_write)
