"""One iSCSI session: libiscsi's asynchronous interface, driven by asyncio."""

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
from nodes.clients.client_runtime import first_of, how_it_broke
from nodes.servers.iscsi_server import TARGET_NAME

#: A session's sockets: libiscsi's, and one that is watched.
FILES_PER_SESSION = 2
#: The unit with the blocks; tgt's unit 0 is its controller.
LUN = 1
SECTOR = 512
#: READ CAPACITY(16), SBC-3 5.16.2: last logical block, bytes in a block.
CAPACITY = struct.Struct("!QI20x")

#: Issues a command to the library: from callback and key to a task, or None.
Issue = Callable[[object, int], int | None]


class Decoy:
    """A listener on loopback, where libiscsi connects before its socket is exchanged.

    libiscsi takes no socket of the caller's, nor a source port: it connects here, and
    then the connection that the caller made takes the place of that one (dup2(2)).
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.portal = f"127.0.0.1:{self._listener.getsockname()[1]}".encode()

    def forget(self) -> None:
        """End the connection that libiscsi has just made."""
        self._listener.accept()[0].close()


class IscsiSession:
    """A session with a target over a socket of the caller's. Nothing here blocks."""

    def __init__(self, sock: socket.socket, initiator: str, decoy: Decoy) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._decoy = decoy
        self._library = libiscsi.library()
        # Named apart: two sessions of one initiator's port are one session to a target,
        # which ends the older (RFC 7143, 6.3.5, session reinstatement).
        self._context = self._library.iscsi_create_context(initiator.encode())
        self._callback = libiscsi.COMMAND_CALLBACK(self._completed)
        self._pending: dict[int, asyncio.Future[None]] = {}
        #: Task and data of each command that libiscsi has not let go of, whoever
        #: waits for it still or does not.
        self._in_use: dict[int, tuple[int, object]] = {}
        self._done: list[tuple[int, int]] = []
        self._writing = False
        self._commands = 0
        self._sectors = 0
        #: Done when the connection ended; the result says how. ``ServerClosed`` for an
        #: orderly end, ``ConnectionResetError`` for a reset.
        self.lost: asyncio.Future[OSError] = self._loop.create_future()

    async def handshake(self) -> None:
        """Log in and learn the size. Raises ``OSError`` if it came to nothing."""
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
        """Bytes in the unit. Valid after :meth:`handshake`."""
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
        """Log out and wait until the target closes. Nothing raised.

        Whoever closes first keeps the 4-tuple in TIME_WAIT: so it is the target, and
        the same seed finds its source ports free in the next run.
        """
        library, context = self._library, self._context
        with contextlib.suppress(OSError):
            await self._call(lambda *end: library.iscsi_logout_async(context, *end))
            await first_of(self.lost)

    def close(self) -> None:
        """Let go of the socket, whatever state the connection is in. Call it once."""
        self._forget_socket()
        self.lost.cancel()
        self._library.iscsi_destroy_context(self._context)  # cancels what is pending
        for key in list(self._in_use):
            self._free(key)
        self._sock.close()

    def _connect(self, callback: object, key: int) -> int:
        """Connect to the decoy, and put the caller's connection in its place."""
        failed: int = self._library.iscsi_full_connect_async(
            self._context, self._decoy.portal, LUN, callback, key
        )
        if not failed:
            os.dup2(self._sock.fileno(), self._library.iscsi_get_fd(self._context))
            self._decoy.forget()
            self._loop.add_reader(self._sock, self._readable)
        return failed

    async def _call(self, call: Callable[[object, int], int]) -> None:
        """One call that completes by callback; raises ``OSError`` unless it is good."""
        if self.lost.done():
            raise self.lost.result()
        key, done = self._expect()
        if call(self._callback, key):
            del self._pending[key]
            raise self._error()
        self._watch_writable()
        await done

    async def _command(
        self, issue: Issue, data: bytes | ctypes.Array[ctypes.c_char]
    ) -> None:
        """One SCSI command; ``data``: what it writes, or where what it reads goes."""
        if self.lost.done():
            raise self.lost.result()
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
        """Called by libiscsi, amid its work: only note it."""
        self._done.append((key, status))

    def _readable(self) -> None:
        """Look before libiscsi does: it takes the error from the socket and drops it."""
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
        """Let libiscsi do one step, then act on what came of it."""
        failed = self._library.iscsi_service(self._context, events)
        done, self._done = self._done, []
        if failed or any(status == libiscsi.STATUS_CANCELLED for _, status in done):
            return self._end(how_it_broke(self._sock))
        for key, status in done:
            self._free(key)
            self._settle(self._pending.pop(key), status)
        self._watch_writable()

    def _settle(self, future: asyncio.Future[None], status: int) -> None:
        """Hand over an answer, unless nobody waits for it any more."""
        if future.done():
            return
        if status == libiscsi.STATUS_GOOD:
            future.set_result(None)
        else:
            future.set_exception(self._error())

    def _free(self, key: int) -> None:
        """Let go of a command's task; a login or a logout has none."""
        task, _ = self._in_use.pop(key, (None, None))
        if task is not None:
            self._library.scsi_free_scsi_task(task)

    def _error(self) -> OSError:
        said = self._library.iscsi_get_error(self._context) or b"no reason given"
        return OSError(errno.EIO, said.decode(errors="replace").strip())

    def _end(self, error: OSError) -> None:
        """The connection ended: every command in flight ends with it."""
        self._forget_socket()
        if not self.lost.done():
            self.lost.set_result(error)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._pending.clear()

    def _watch_writable(self) -> None:
        """Wait until there is room, if libiscsi has something to send."""
        wants = self._library.iscsi_which_events(self._context) & libiscsi.POLLOUT
        if self.lost.done() or bool(wants) == self._writing:
            return
        self._writing = bool(wants)
        if wants:
            self._loop.add_writer(self._sock, self._writable)
        else:
            self._loop.remove_writer(self._sock)

    def _forget_socket(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._writing = False
