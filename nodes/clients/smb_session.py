"""One SMB 3.0 session that holds a byte-range lock, on asyncio.

impacket waits for each answer, so every session has a thread of its own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from impacket import nmb, nt_errors, smb3, smb3structs

from nodes.clients.client_runtime import disconnect_reason, keep_alive
from nodes.clients.durable_handle import durable_reconnect, durable_request
from nodes.clients.lock_session import Account, Stored
from nodes.clients.smb_library import LockElement, Smb, log_in
from nodes.servers.smb_server import SHARE

T = TypeVar("T")

#: What others have: the lock, or the file in a way that excludes this open.
_TAKEN = frozenset(
    (
        nt_errors.STATUS_LOCK_NOT_GRANTED,
        nt_errors.STATUS_FILE_LOCK_CONFLICT,
        nt_errors.STATUS_SHARING_VIOLATION,
    )
)
#: Pause between two questions for a lock that somebody else has, in seconds.
ASK_AGAIN_S = 0.01
#: The locked byte. It is apart from the records, so that those can be read without the
#: lock: a lock of SMB is mandatory, others may not even read what is locked (MS-FSA 2.1.4.10).
LOCKED = 0
#: Where the records begin. Number n is the n-th: twice its number, little endian.
RECORDS = 4096
RECORD = struct.Struct("<QQ")
#: Octets in one READ.
READ_SIZE = 1 << 16
#: What a READ of the locked byte may answer: the file is empty before its first record.
_READABLE = nt_errors.STATUS_SUCCESS, nt_errors.STATUS_END_OF_FILE


def _new_guid() -> bytes:
    return uuid.uuid4().bytes


@dataclass
class Handle:
    """A durable handle: its name, its number at the server, and whether it has the lock.

    ``locked`` is False also while an answer of the server is awaited that changes it.
    """

    guid: bytes
    file: bytes
    locked: bool = False


@dataclass
class Memory:
    """What a client keeps of one connection, for the one that it opens after a reset.

    ``guid``: its own name. ``session``: its last session. It says that this one has gone,
    as Windows and Linux do (PreviousSessionId, MS-SMB2 2.2.5): a server that knows that
    session ends it. ``durable``: whether it asks for durable handles; ``handle``: its last
    one, which it claims back.
    """

    durable: bool = False
    guid: bytes = field(default_factory=_new_guid)
    session: int = 0
    handle: Handle | None = None


class SmbSession:
    """A session on one connection. It implements ``LockSession``.

    The lock is an exclusive lock of one byte of the account's file; a change is one record
    of that file, stored when the server has answered.
    """

    def __init__(
        self,
        sock: socket.socket,
        smb: Smb,
        tree: int,
        thread: ThreadPoolExecutor,
        memory: Memory,
    ) -> None:
        """``smb``: logged in on ``sock``, with a tree connect to the share."""
        self._memory = memory
        self._socket = sock
        self._smb = smb
        self._tree = tree
        self._thread = thread
        self._files: dict[int, bytes] = {}
        self._touches: dict[int, bytearray] = {}
        #: Done when the connection has ended; see :class:`LockSession`.
        self.closed: asyncio.Future[OSError] = (
            asyncio.get_running_loop().create_future()
        )

    async def take(self, account: Account, wait_s: float) -> bool:
        """Lock the account's file. False: another session has it. Raises ``OSError``."""
        deadline = time.monotonic() + wait_s
        while not await self._ask(lambda: self._try_lock(account)):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(ASK_AGAIN_S)
        return True

    async def stored(self, account: Account) -> Stored:
        """The records of the account's file. Raises ``OSError``."""
        return records(await self._ask(lambda: self._read_records(account)))

    async def change(self, account: Account, number: int) -> None:
        """Write record ``number``. It is stored before :meth:`give`."""
        where = RECORDS + (number - 1) * RECORD.size
        data = RECORD.pack(number, number)
        await self._ask(
            lambda: self._smb.write(
                self._tree, self._open(account), data, where, len(data)
            )
        )

    async def touch(self, account: Account) -> None:
        """Read the locked byte. Raises ``OSError``."""
        await self._ask(lambda: self._read_locked(account))

    async def give(self, account: Account) -> None:
        """Unlock the account's file. Raises ``OSError``."""
        await self._ask(lambda: self._unlock(account))

    async def undo(self, account: Account) -> None:
        """The same: a change is stored at once."""
        await self.give(account)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self.closed.cancel()
        _end(self._socket, self._thread)

    # ------------------------------------------------------- in the session's thread

    def _try_lock(self, account: Account) -> bool:
        flags = (
            smb3structs.SMB2_LOCKFLAG_EXCLUSIVE_LOCK
            | smb3structs.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
        )
        file, handle = self._open(account), self._memory.handle
        if handle and handle.locked:
            return True
        try:
            self._lock(file, flags)
        except smb3.SessionError as error:
            if error.get_error_code() not in _TAKEN:
                raise
            return False
        if handle:
            handle.locked = True
        return True

    def _unlock(self, account: Account) -> None:
        if self._memory.handle:
            self._memory.handle.locked = False
        self._lock(self._open(account), smb3structs.SMB2_LOCKFLAG_UNLOCK)

    def _lock(self, file: bytes, flags: int) -> None:
        element = LockElement()
        element["Offset"], element["Length"], element["Flags"] = LOCKED, 1, flags
        self._smb.lock(self._tree, file, [element])

    def _read_locked(self, account: Account) -> None:
        if account.own not in self._touches:
            file = self._open(account)
            self._touches[account.own] = self._smb.read_request(
                self._tree, file, LOCKED
            )
        status = self._smb.repeat(self._touches[account.own])
        if status not in _READABLE:
            raise smb3.SessionError(status)

    def _read_records(self, account: Account) -> bytes:
        found = b""
        while part := self._read(account, RECORDS + len(found), READ_SIZE):
            found += part
        return found

    def _read(self, account: Account, offset: int, size: int) -> bytes:
        try:
            return bytes(self._smb.read(self._tree, self._open(account), offset, size))
        except smb3.SessionError as error:
            if error.get_error_code() != nt_errors.STATUS_END_OF_FILE:
                raise
            return b""

    def _open(self, account: Account) -> bytes:
        """The account's file, opened when it is first used."""
        if account.own not in self._files:
            self._files[account.own] = self._reclaim(account) or self._create(account)
        return self._files[account.own]

    def _create(self, account: Account) -> bytes:
        """Open the file; ask for a durable handle if this client has such."""
        if not self._memory.durable:
            return self._create_with(account, None)
        guid = _new_guid()
        file = self._create_with(account, durable_request(guid))
        self._memory.handle = Handle(guid, file)
        return file

    def _reclaim(self, account: Account) -> bytes | None:
        """The file by the durable handle of an earlier connection; None if it is gone."""
        handle = self._memory.handle
        if handle is None:
            return None
        try:
            context = durable_reconnect(handle.guid, handle.file)
            handle.file = self._create_with(account, context)
        except smb3.SessionError as error:
            if error.get_error_code() != nt_errors.STATUS_OBJECT_NAME_NOT_FOUND:
                raise
            return None
        if not handle.locked:  # perhaps it is: an answer was lost with the connection
            with suppress(smb3.SessionError):
                self._lock(handle.file, smb3structs.SMB2_LOCKFLAG_UNLOCK)
        return handle.file

    def _create_with(
        self, account: Account, context: smb3structs.SMB2CreateContext | None
    ) -> bytes:
        """SMB2 CREATE. Only with a batch oplock is a handle made durable."""
        level = smb3structs.SMB2_OPLOCK_LEVEL_BATCH if context else 0
        return bytes(
            self._smb.create(
                self._tree,
                file_name(account),
                smb3structs.FILE_READ_DATA | smb3structs.FILE_WRITE_DATA,
                smb3structs.FILE_SHARE_READ | smb3structs.FILE_SHARE_WRITE,
                smb3structs.FILE_NON_DIRECTORY_FILE,
                smb3structs.FILE_OPEN_IF,
                smb3structs.FILE_ATTRIBUTE_NORMAL,
                oplockLevel=level,
                createContexts=[context] if context else None,
            )
        )

    # --------------------------------------------------------------------- the thread

    async def _ask(self, request: Callable[[], T]) -> T:
        """The answer to a request. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, request)
        except smb3.SessionError as error:
            raise OSError(errno.EIO, str(error)) from error
        except (nmb.NetBIOSError, nmb.NetBIOSTimeout, OSError) as error:
            reason = disconnect_reason(self._socket)
            if not self.closed.done():
                self.closed.set_result(reason)
            raise reason from error


def records(data: bytes) -> Stored:
    """The records of an account's file: whole if number n is the n-th, up to the last."""
    last, rest = divmod(len(data), RECORD.size)
    whole = not rest and all(
        found == (number, number)
        for number, found in enumerate(RECORD.iter_unpack(data), start=1)
    )
    return Stored(last, whole)


def file_name(account: Account) -> str:
    """Of the account's file, in the share."""
    return f"account-{account.own}"


async def open_session(
    target: str, port: int, source_port: int, keepalive_s: int, memory: Memory
) -> SmbSession:
    """A session from ``source_port``. Raises ``OSError`` if it cannot be opened.

    ``memory``: of the connection that it takes the place of; it is kept up to date.
    """
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(("", source_port))
        await asyncio.get_running_loop().sock_connect(sock, (target, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock, keepalive_s)
    except BaseException:
        sock.close()
        raise
    return await session_on(sock, target, memory)


async def session_on(sock: socket.socket, target: str, memory: Memory) -> SmbSession:
    """A session on that connected socket, which is closed if it raises ``OSError``."""
    sock.setblocking(True)
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        loop = asyncio.get_running_loop()
        smb, tree = await loop.run_in_executor(thread, _log_in, sock, target, memory)
    except (nmb.NetBIOSError, nmb.NetBIOSTimeout) as error:
        reason = disconnect_reason(sock)
        _end(sock, thread)
        raise reason from error
    except smb3.SessionError as error:
        _end(sock, thread)
        raise ConnectionError(str(error)) from error
    except BaseException:
        _end(sock, thread)
        raise
    return SmbSession(sock, smb, tree, thread, memory)


def _log_in(sock: socket.socket, target: str, memory: Memory) -> tuple[Smb, int]:
    """A session in place of the one remembered, and its tree connect to the share."""
    smb = log_in(sock, target, memory.guid, memory.session)
    memory.session = smb.session
    return smb, smb.connectTree(SHARE)


def _end(sock: socket.socket, thread: ThreadPoolExecutor) -> None:
    """Close the socket, and let the thread end, which may be waiting for an answer."""
    try:
        sock.shutdown(socket.SHUT_RDWR)  # wakes it: recv(2) does not notice a close
    except OSError:
        pass  # the connection has ended
    sock.close()
    thread.shutdown(wait=False)
