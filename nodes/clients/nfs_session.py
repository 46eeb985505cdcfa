"""One NFSv4.0 session that locks a file: libnfs's asynchronous interface on asyncio."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import time
from collections.abc import Callable

from nodes.clients import libnfs
from nodes.clients.library_session import LibrarySession, PlaceholderListener
from nodes.clients.lock_session import Account, Stored
from nodes.servers.nfs_files import (
    HEAD,
    LEDGER,
    NUMBER,
    OWNER_BYTES,
    file_name,
)

#: What the export is called (``Pseudo`` in Ganesha's settings).
EXPORT = b"/store"
#: Pause before a lock that somebody else holds is asked for again, in seconds.
POLL_S = 0.02
#: Bytes of the ledger that one READ asks for.
_CHUNK = 2**16
#: What libnfs says if a lock is held by somebody else.
_DENIED = "NFS4ERR_DENIED"
#: Of an instance of a client (RFC 7530, 9.1.1).
_VERIFIER_BYTES = 8


class NfsError(OSError):
    """The server refused a request. The text is libnfs's."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    @property
    def denied(self) -> bool:
        """Whether somebody else holds the lock."""
        return _DENIED in str(self)


class NfsSession(LibrarySession):
    """A client instance of NFSv4.0 on one connection. It is a ``LockSession``.

    ``client`` names the client, ``port`` the instance: what comes back from another port
    is a client that has been started anew, and knows no state of the one before.
    """

    def __init__(
        self,
        sock: socket.socket,
        client: str,
        port: int,
        placeholder: PlaceholderListener,
    ) -> None:
        super().__init__(sock)
        self._placeholder = placeholder
        self._library = libnfs.library()
        self._context = self._library.nfs_init_context()
        self._callback = libnfs.NFS_CALLBACK(self._called_back)
        self._host = client.rpartition("-")[0]
        self._port = port
        self._number = 0
        self._reads: set[int] = set()
        self._files: dict[int, int] = {}
        self._owners: set[int] = set()
        verifier = f"{port:<{_VERIFIER_BYTES}}"
        self._library.nfs4_set_client_name(self._context, client.encode())
        self._library.nfs4_set_verifier(self._context, verifier.encode())

    async def mount(self) -> None:
        """Introduce the client to the server. Raises ``OSError``."""
        url = (
            f"nfs://127.0.0.1/x?version=4&nfsport={self._placeholder.port}&uid=0&gid=0"
        )
        options = self._library.nfs_parse_url_full(self._context, url.encode())
        if not options:
            raise self._error()
        self._library.nfs_destroy_url(options)
        await self._ask(self._connect)

    async def take(self, account: Account, wait_s: float) -> bool:
        """Lock the account's file. False: somebody else still has it after ``wait_s``.

        It asks again and again: LOCKT of Ganesha 4.3 does not see what another server's
        clients hold.
        """
        file = await self._open(account)
        if account.own not in self._owners:
            await self._introduce_owner(file)
            self._owners.add(account.own)
        deadline = time.monotonic() + wait_s
        while not await self._try_lock(file):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def stored(self, account: Account) -> Stored:
        """The last change in the head, and whether the ledger has all up to it."""
        file = await self._open(account)
        (last,) = NUMBER.unpack(await self._read(file, HEAD, NUMBER.size))
        size, found = last * NUMBER.size, b""
        while len(found) < size:
            start = LEDGER + NUMBER.size + len(found)
            more = await self._read(file, start, min(_CHUNK, size - len(found)))
            if not more:
                break
            found += more
        numbers = [number for (number,) in NUMBER.iter_unpack(found)]
        return Stored(last, whole=numbers == list(range(1, last + 1)))

    async def change(self, account: Account, number: int) -> None:
        """Write change ``number`` into the ledger. It does not count before :meth:`give`."""
        self._number = number
        await self._write(account, LEDGER + number * NUMBER.size, number)

    async def touch(self, account: Account) -> None:
        """READ with the lock's state, which renews the lease. Raises ``OSError``."""
        await self._read(await self._open(account), HEAD, NUMBER.size)

    async def give(self, account: Account) -> None:
        """The change counts, and the file is unlocked. Raises ``OSError``."""
        await self._write(account, HEAD, self._number)
        await self.undo(account)

    async def undo(self, account: Account) -> None:
        """LOCKU. Raises ``OSError``."""
        await self._lock(await self._open(account), libnfs.UNLOCK)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self._unwatch_socket()
        self.closed.cancel()
        self._library.nfs_destroy_context(self._context)  # cancels what is pending
        self._sock.close()

    async def _open(self, account: Account) -> int:
        """The file of an account; it stays open. Raises ``OSError``."""
        file = self._files.get(account.own)
        if file is None:
            path = f"/{file_name(self._host, account.own)}".encode()
            opened = await self._ask(
                lambda *end: self._library.nfs_open_async(
                    self._context, path, os.O_RDWR | os.O_SYNC, *end
                )
            )
            assert isinstance(opened, int), "libnfs gives the file"
            file = self._files[account.own] = opened
        return file

    async def _introduce_owner(self, file: int) -> None:
        """Lock a byte that nobody else wants, for as long as the file is open.

        The first LOCK of an owner has a number of the open owner's sequence (RFC 7530,
        9.1.7). libnfs repeats that number if the first LOCK is refused, and the server then
        repeats its answer.
        """
        write, start = 1, OWNER_BYTES + self._port
        lock = libnfs.FileLock(
            l_type=write, l_whence=os.SEEK_SET, l_start=start, l_len=1
        )
        await self._ask(
            lambda *end: self._library.nfs_fcntl_async(
                self._context, file, libnfs.SET_LOCK, ctypes.addressof(lock), *end
            )
        )

    async def _try_lock(self, file: int) -> bool:
        try:
            await self._lock(file, libnfs.TRY_LOCK)
        except NfsError as error:
            if error.denied:
                return False
            raise
        return True

    async def _lock(self, file: int, operation: int) -> None:
        await self._ask(
            lambda *end: self._library.nfs_lockf_async(
                self._context, file, operation, self._port, *end
            )
        )

    async def _write(self, account: Account, offset: int, number: int) -> None:
        """WRITE with FILE_SYNC: acknowledged means stored."""
        file, data = await self._open(account), NUMBER.pack(number)
        await self._ask(
            lambda *end: self._library.nfs_pwrite_async(
                self._context, file, offset, len(data), data, *end
            )
        )

    async def _read(self, file: int, offset: int, length: int) -> bytes:
        def read(callback: object, key: int) -> int:
            self._reads.add(key)
            failed: int = self._library.nfs_pread_async(
                self._context, file, offset, length, callback, key
            )
            return failed

        data = await self._ask(read)
        assert isinstance(data, bytes), "libnfs gives what it has read"
        return data

    def _connect(self, callback: object, key: int) -> int:
        """Connect to the placeholder, then replace that socket by the caller's."""
        failed: int = self._library.nfs_mount_async(
            self._context, b"127.0.0.1", EXPORT, callback, key
        )
        if not failed:
            self._replace(self._library.nfs_get_fd(self._context), self._placeholder)
        return failed

    async def _ask(self, call: Callable[[object, int], int]) -> object:
        """One call that completes by callback. Raises ``OSError`` if it fails."""

        def start(key: int) -> None:
            if call(self._callback, key):
                raise self._error()

        return await self._call(start)

    def _called_back(self, status: int, _context: int, data: int, key: int) -> None:
        """What was read is the library's, and only here."""
        value: object = data
        if status >= 0 and key in self._reads:
            value = ctypes.string_at(data, status)
        elif status < 0:
            value = self._error()
        self._reads.discard(key)
        self._completed(key, status, value)

    def _wanted_events(self) -> int:
        return int(self._library.nfs_which_events(self._context))

    def _serve(self, events: int) -> bool:
        return not self._library.nfs_service(self._context, events)

    def _result(self, _key: int, status: int, value: object) -> object:
        if isinstance(value, OSError):
            raise value
        return value

    def _error(self) -> NfsError:
        """What the library says of the last failure."""
        message = self._library.nfs_get_error(self._context) or b"no reason given"
        return NfsError(message.decode(errors="replace").strip())
