"""One iSCSI session: libiscsi's asynchronous interface on asyncio."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Callable

from nodes.clients import libiscsi
from nodes.clients.client_runtime import wait_any
from nodes.clients.library_session import LibrarySession, PlaceholderListener
from nodes.servers.iscsi_server import TARGET_NAME

#: The logical unit with the blocks. tgt's unit 0 is its controller.
LUN = 1
SECTOR = 512
#: READ CAPACITY(16), SBC-3 5.16.2: last logical block, bytes per block.
CAPACITY = struct.Struct("!QI20x")

#: Issues a command to the library: (callback, key) -> task or None.
Issue = Callable[[object, int], int | None]


class ScsiError(OSError):
    """A command was answered with a status other than GOOD; ``status``: SAM-5, 5.3.1."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(errno.EIO, message)
        self.status = status


class IscsiSession(LibrarySession):
    """A session with a target over a socket of the caller. No method blocks."""

    def __init__(
        self,
        sock: socket.socket,
        initiator: str,
        placeholder: PlaceholderListener,
        unit: int = LUN,
    ) -> None:
        super().__init__(sock)
        self._placeholder = placeholder
        self._unit = unit
        self._library = libiscsi.library()
        # Initiator names must differ: for a second session of the same initiator port,
        # the target ends the first (RFC 7143, 6.3.5, session reinstatement).
        self._context = self._library.iscsi_create_context(initiator.encode())
        self._callback = libiscsi.COMMAND_CALLBACK(self._called_back)
        #: Task and data of each command that libiscsi still uses, even if its caller
        #: no longer waits.
        self._in_use: dict[int, tuple[int, object]] = {}
        self._sectors = 0

    async def handshake(self) -> None:
        """Log in and read the size. Raises ``OSError`` if that failed."""
        await self.log_in()
        library, context = self._library, self._context
        answer = ctypes.create_string_buffer(CAPACITY.size)
        await self._command(
            lambda *end: library.iscsi_readcapacity16_task(context, self._unit, *end),
            answer,
        )
        last, size = CAPACITY.unpack(answer.raw)
        if size != SECTOR:
            raise OSError(errno.EINVAL, f"the unit has blocks of {size} bytes")
        self._sectors = last + 1

    async def log_in(self) -> None:
        """Log in to the target, and no more. Raises ``OSError`` if that failed."""
        library, context = self._library, self._context
        library.iscsi_set_noautoreconnect(context, 1)
        library.iscsi_set_targetname(context, TARGET_NAME.encode())
        library.iscsi_set_session_type(context, libiscsi.SESSION_NORMAL)
        await self._ask(self._connect)

    @property
    def export_size(self) -> int:
        """Size of the unit in bytes. Valid after :meth:`handshake`."""
        return self._sectors * SECTOR

    async def write(self, offset: int, data: bytes) -> None:
        """WRITE(16) with FUA: acknowledged means stored. Raises ``OSError``."""
        lba, fua = offset // SECTOR, 1
        await self._command(
            lambda *end: self._library.iscsi_write16_task(
                *(self._context, self._unit, lba, data, len(data), SECTOR),
                *(0, 0, fua, 0, 0, *end),
            ),
            data,
        )

    async def read(self, offset: int, length: int) -> bytes:
        """READ(16). Raises ``OSError`` as :meth:`write` does."""
        answer = ctypes.create_string_buffer(length)
        await self._command(
            lambda *end: self._library.iscsi_read16_task(
                *(self._context, self._unit, offset // SECTOR, length, SECTOR),
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
            await self._ask(lambda *end: library.iscsi_logout_async(context, *end))
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
            self._context, self._placeholder.portal, self._unit, callback, key
        )
        if not failed:
            self._replace(self._library.iscsi_get_fd(self._context), self._placeholder)
        return failed

    async def _ask(self, call: Callable[[object, int], int]) -> None:
        """One call that completes by callback. Raises ``OSError`` if it fails."""

        def start(key: int) -> None:
            if call(self._callback, key):
                raise self._error()

        await self._call(start)

    async def _command(
        self, issue: Issue, data: bytes | ctypes.Array[ctypes.c_char] = b""
    ) -> None:
        """One SCSI command. ``data``: the data to write, or the buffer to read into."""

        def start(key: int) -> None:
            task = issue(self._callback, key)
            if task is None:
                raise self._error()
            self._in_use[key] = (task, data)
            if isinstance(data, ctypes.Array):
                self._library.scsi_task_add_data_in_buffer(task, len(data), data)

        await self._call(start)

    def _called_back(self, _context: int, status: int, _data: int, key: int) -> None:
        self._completed(key, status)

    def _wanted_events(self) -> int:
        return int(self._library.iscsi_which_events(self._context))

    def _serve(self, events: int) -> bool:
        failed = self._library.iscsi_service(self._context, events)
        return not failed and all(
            status != libiscsi.STATUS_CANCELLED for _, status, _ in self._done
        )

    def _result(self, key: int, status: int, _value: object) -> None:
        self._free(key)
        if status != libiscsi.STATUS_GOOD:
            raise ScsiError(status, self._reason())

    def _free(self, key: int) -> None:
        """Free a command's task. Login and logout have none."""
        task, _ = self._in_use.pop(key, (None, None))
        if task is not None:
            self._library.scsi_free_scsi_task(task)

    def _error(self) -> OSError:
        return OSError(errno.EIO, self._reason())

    def _reason(self) -> str:
        """What the library says of the last failure."""
        message: bytes = self._library.iscsi_get_error(self._context)
        return (message or b"no reason given").decode(errors="replace").strip()
