"""One iSCSI session: libiscsi's asynchronous interface on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable

from nodes.clients import libiscsi
from nodes.clients.client_report import ServerClosed
from nodes.clients.client_runtime import disconnect_reason, wait_any
from nodes.servers.iscsi_server import TARGET_NAME

#: Open files of a session: libiscsi's socket, and the caller's.
FILES_PER_SESSION = 2
#: The logical unit with the blocks. tgt's unit 0 is its controller.
LUN = 1
SECTOR = 512
#: READ CAPACITY(16), SBC-3 5.16.2: last logical block, bytes per block.
CAPACITY = struct.Struct("!QI20x")

#: Issues a command to the library: (callback, key) -> task or None.
Issue = Callable[[object, int], int | None]


class PlaceholderListener:
    """A loopback listener. libiscsi connects to it first; then its socket is replaced.

    libiscsi accepts neither a socket nor a source port of the caller. So it connects here,
    and then the caller's connection replaces that one (dup2(2)).
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.portal = f"127.0.0.1:{self._listener.getsockname()[1]}".encode()

    def drop(self) -> None:
        """Close the connection that libiscsi has just opened."""
        self._listener.accept()[0].close()


class IscsiSession:
    """A session with a target over a socket of the caller. No method blocks."""

    def __init__(
        self, sock: socket.socket, initiator: str, placeholder: PlaceholderListener
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._placeholder = placeholder
        self._library = libiscsi.library()
        # Initiator names must differ: for a second session of the same initiator port,
        # the target ends the first (RFC 7143, 6.3.5, session reinstatement).
        self._context = self._library.iscsi_create_context(initiator.encode())
        self._callback = libiscsi.COMMAND_CALLBACK(self._completed)
        self._pending: dict[int, asyncio.Future[None]] = {}
        #: Task and data of each command that libiscsi still uses, even if its caller
        #: no longer waits.
        self._in_use: dict[int, tuple[int, object]] = {}
        self._done: list[tuple[int, int]] = []
        self._writing = False
        self._commands = 0
        self._sectors = 0
        #: Done when the connection has ended. The result is ``ServerClosed`` after a FIN,
        #: ``ConnectionResetError`` after a reset.
        self.closed: asyncio.Future[OSError] = self._loop.create_future()

    async def handshake(self) -> None:
        """Log in and read the size. Raises ``OSError`` if that failed."""
        library, context = self._library, self._context
        library.iscsi_set_noautoreconnect(context, 1)
        library.iscsi_set_targetname(context, TARGET_NAME.encode())
        library.iscsi_set_session_type(context, libiscsi.SESSION_NORMAL)
        await self._call(self._connect)
        answer = ctypes.create_string_buffer(CAPACITY.size)
        await self._command(
            lambda *end: library.iscsi_readcapacity16_task(context, LUN, *end), answer
        )
        last, size = CAPACITY.unpack(answer.raw)
        if size != SECTOR:
            raise OSError(errno.EINVAL, f"the unit has blocks of {size} bytes")
        self._sectors = last + 1

    @property
    def export_size(self) -> int:
        """Size of the unit in bytes. Valid after :meth:`handshake`."""
        return self._sectors * SECTOR

    async def write(self, offset: int, data: bytes) -> None:
        """WRITE(16) with FUA: acknowledged means stored. Raises ``OSError``."""
        lba, fua = offset // SECTOR, 1
        await self._command(
            lambda *end: self._library.iscsi_write16_task(
                *(self._context, LUN, lba, data, len(data), SECTOR),
                *(0, 0, fua, 0, 0, *end),
            ),
            data,
        )

    async def read(self, offset: int, length: int) -> bytes:
        """READ(16). Raises ``OSError`` as :meth:`write` does."""
        answer = ctypes.create_string_buffer(length)
        await self._command(
            lambda *end: self._library.iscsi_read16_task(
                *(self._context, LUN, offset // SECTOR, length, SECTOR),
                *(0, 0, 0, 0, 0, *end),
            ),
            answer,
        )
        return answer.raw

    async def disconnect(self) -> None:
        """Log out and wait until the target closes. Raises nothing.

        The side that closes first has the 4-tuple in TIME_WAIT. That must be the target,
        so that a next run with the same seed finds its source ports free.
        """
        library, context = self._library, self._context
        with contextlib.suppress(OSError):
            await self._call(lambda *end: library.iscsi_logout_async(context, *end))
            await wait_any(self.closed)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self._unwatch_socket()
        self.closed.cancel()
        self._library.iscsi_destroy_context(self._context)  # cancels what is pending
        for key in list(self._in_use):
            self._free(key)
        self._sock.close()

    def _connect(self, callback: object, key: int) -> int:
        """Connect to the placeholder, then replace that socket by the caller's."""
        failed: int = self._library.iscsi_full_connect_async(
            self._context, self._placeholder.portal, LUN, callback, key
        )
        if not failed:
            os.dup2(self._sock.fileno(), self._library.iscsi_get_fd(self._context))
            self._placeholder.drop()
            self._loop.add_reader(self._sock, self._readable)
        return failed

    async def _call(self, call: Callable[[object, int], int]) -> None:
        """One call that completes by callback. Raises ``OSError`` if it fails."""
        if self.closed.done():
            raise self.closed.result()
        key, done = self._expect()
        if call(self._callback, key):
            del self._pending[key]
            raise self._error()
        self._watch_writable()
        await done

    async def _command(
        self, issue: Issue, data: bytes | ctypes.Array[ctypes.c_char]
    ) -> None:
        """One SCSI command. ``data``: the data to write, or the buffer to read into."""
        if self.closed.done():
            raise self.closed.result()
        key, done = self._expect()
        task = issue(self._callback, key)
        if task is None:
            del self._pending[key]
            raise self._error()
        self._in_use[key] = (task, data)
        if isinstance(data, ctypes.Array):
            self._library.scsi_task_add_data_in_buffer(task, len(data), data)
        self._watch_writable()
        await done

    def _expect(self) -> tuple[int, asyncio.Future[None]]:
        self._commands += 1
        done: asyncio.Future[None] = self._loop.create_future()
        self._pending[self._commands] = done
        return self._commands, done

    def _completed(self, _context: int, status: int, _data: int, key: int) -> None:
        """Callback of libiscsi: only record the result."""
        self._done.append((key, status))

    def _readable(self) -> None:
        """Check the socket first: libiscsi would consume its error."""
        try:
            ended = not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            return self._end(error)
        if ended:
            return self._end(ServerClosed("the target closed the connection"))
        self._drive(libiscsi.POLLIN)

    def _writable(self) -> None:
        self._drive(libiscsi.POLLOUT)

    def _drive(self, events: int) -> None:
        """Let libiscsi do one step, then handle the results."""
        failed = self._library.iscsi_service(self._context, events)
        done, self._done = self._done, []
        if failed or any(status == libiscsi.STATUS_CANCELLED for _, status in done):
            return self._end(disconnect_reason(self._sock))
        for key, status in done:
            self._free(key)
            self._settle(self._pending.pop(key), status)
        self._watch_writable()

    def _settle(self, future: asyncio.Future[None], status: int) -> None:
        """Set the result of a command, if its caller still waits."""
        if future.done():
            return
        if status == libiscsi.STATUS_GOOD:
            future.set_result(None)
        else:
            future.set_exception(self._error())

    def _free(self, key: int) -> None:
        """Free a command's task. Login and logout have none."""
        task, _ = self._in_use.pop(key, (None, None))
        if task is not None:
            self._library.scsi_free_scsi_task(task)

    def _error(self) -> OSError:
        message = self._library.iscsi_get_error(self._context) or b"no reason given"
        return OSError(errno.EIO, message.decode(errors="replace").strip())

    def _end(self, error: OSError) -> None:
        """The connection has ended. Fail all commands in flight."""
        self._unwatch_socket()
        if not self.closed.done():
            self.closed.set_result(error)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._pending.clear()

    def _watch_writable(self) -> None:
        """Watch for writability if libiscsi has something to send."""
        wants = self._library.iscsi_which_events(self._context) & libiscsi.POLLOUT
        if self.closed.done() or bool(wants) == self._writing:
            return
        self._writing = bool(wants)
        if wants:
            self._loop.add_writer(self._sock, self._writable)
        else:
            self._loop.remove_writer(self._sock)

    def _unwatch_socket(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._writing = False
