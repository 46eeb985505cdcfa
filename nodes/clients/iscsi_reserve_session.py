"""An iSCSI session that reserves its logical unit: RESERVE(6), by libiscsi."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nodes.clients.iscsi_session import IscsiSession, ScsiError
from nodes.clients.libiscsi import STATUS_CHECK_CONDITION, STATUS_RESERVATION_CONFLICT
from nodes.clients.lock_session import Account, Stored
from nodes.servers.iscsi_units import LEDGER, NUMBER, SECTOR, TAKEN

T = TypeVar("T")

#: Pause before a unit that somebody else has reserved is asked for again, in seconds.
POLL_S = 0.02
#: Unit attentions that a target may have for a new session, one answer each (SAM-5).
_MAX_ATTENTIONS = 10
#: Sectors of the ledger that one READ(16) asks for.
_CHUNK = 256


class ReserveSession(IscsiSession):
    """A session and the unit that it reserves, ``account.own``. It is a ``LockSession``.

    :meth:`give` writes the head of the unit, and releases it: then the change counts.
    """

    #: ``HOST:PORT`` of this end.
    name: str = ""
    #: Of the change that is not given back yet.
    _number: int = 0

    def identify(self, name: str, port: int) -> None:
        """The name that the target shows, and an ISID that no session before it had.

        With the same ISID a target may end the session before, and its reservations (RFC
        7143, 6.3.5). A client that has been started anew does not know that ISID.
        """
        self.name = name
        self._library.iscsi_set_alias(self._context, name.encode())
        self._library.iscsi_set_isid_random(self._context, port, 0)

    async def take(self, account: Account, wait_s: float) -> bool:
        """Reserve the unit. False: another session still has it after ``wait_s``."""
        self._unit = account.own
        deadline = time.monotonic() + wait_s
        while not await self._reserve(account.own):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        mark = TAKEN.pack(time.time(), self.name.encode())
        await self._write(int(self.name.rpartition(":")[2]), mark)
        return True

    async def stored(self, account: Account) -> Stored:
        """The last change in the head, and whether the ledger has all up to it.

        A unit that a dead session keeps reserved cannot be read. When nobody works any
        more, this breaks the reservation, as an administrator would: LOGICAL UNIT RESET.
        """
        self._unit = account.own
        if not await self.is_free():
            await self.reset_unit()
        (last,) = NUMBER.unpack(await self._read(0, 1))
        whole = True
        for first in range(1, last + 1, _CHUNK):
            count = min(_CHUNK, last + 1 - first)
            found = await self._read(LEDGER + first, count)
            whole &= [n for (n,) in NUMBER.iter_unpack(found)] == [
                *range(first, first + count)
            ]
        return Stored(last, whole)

    async def change(self, account: Account, number: int) -> None:
        """Write change ``number`` into the ledger. It does not count before :meth:`give`."""
        self._number = number
        await self._write(LEDGER + number, NUMBER.pack(number))

    async def touch(self, account: Account) -> None:
        """TEST UNIT READY, under the reservation. Raises ``OSError``."""
        await self._simple("iscsi_testunitready_task", account.own)

    async def give(self, account: Account) -> None:
        """The change counts, and the unit is free. Raises ``OSError``."""
        await self._write(0, NUMBER.pack(self._number))
        await self.undo(account)

    async def undo(self, account: Account) -> None:
        """RELEASE(6): the unit is free. Raises ``OSError``."""
        await self._simple("iscsi_release6_task", account.own)

    async def is_free(self, unit: int | None = None) -> bool:
        """Whether no other session has reserved the unit (SPC-2, 5.5.1: TEST UNIT READY
        conflicts with every reservation but one's own)."""
        try:
            await self._simple("iscsi_testunitready_task", unit or self._unit)
        except ScsiError as error:
            if error.status == STATUS_RESERVATION_CONFLICT:
                return False
            raise
        return True

    async def reset_unit(self) -> None:
        """LOGICAL UNIT RESET (SAM-5): whoever reserved the unit has it no more."""
        await self._ask(
            lambda *end: self._library.iscsi_task_mgmt_lun_reset_async(
                self._context, self._unit, *end
            )
        )

    async def _reserve(self, unit: int) -> bool:
        try:
            await self._simple("iscsi_reserve6_task", unit)
        except ScsiError as error:
            if error.status == STATUS_RESERVATION_CONFLICT:
                return False
            raise
        return True

    async def _simple(self, command: str, unit: int) -> None:
        """A command without data."""
        issue = getattr(self._library, command)
        await _past_attentions(
            lambda: self._command(lambda *end: issue(self._context, unit, *end))
        )

    async def _write(self, sector: int, data: bytes) -> None:
        await _past_attentions(lambda: self.write(sector * SECTOR, data))

    async def _read(self, sector: int, count: int) -> bytes:
        return await _past_attentions(
            lambda: self.read(sector * SECTOR, count * SECTOR)
        )


async def _past_attentions(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a command. A unit attention is reported once, instead of the answer."""
    for _ in range(_MAX_ATTENTIONS):
        try:
            return await ask()
        except ScsiError as error:
            if error.status != STATUS_CHECK_CONDITION:
                raise
    return await ask()
