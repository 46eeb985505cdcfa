"""What a lock client needs of a protocol: a lock of its own, and changes made under it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol


class Account(NamedTuple):
    """What one connection locks and changes. No other connection's client touches it.

    ``own`` and ``other``: the numbers of its two places in the store.
    """

    own: int
    other: int


class Stored(NamedTuple):
    """What is stored of an account: the number of its ``last`` change, 0 for none.

    ``whole``: changes 1 to ``last`` are all there, each exactly once, and no half of one.
    Seen under the lock, the change that is being made is half there.
    """

    last: int
    whole: bool


class LockSession(Protocol):
    """One connection on which a lock is held.

    Every method raises ``OSError`` if the connection has ended: ``ConnectionResetError``
    after a reset, ``ServerClosed`` after a FIN.
    """

    #: Done when the connection is known to have ended; its result is the reason.
    closed: asyncio.Future[OSError]

    async def take(self, account: Account, wait_s: float) -> bool:
        """Take the account's lock. False: somebody else still had it after ``wait_s``."""

    async def stored(self, account: Account) -> Stored:
        """What is stored. Call it with the lock, or when nobody works any more."""

    async def change(self, account: Account, number: int) -> None:
        """Make change ``number`` under the lock."""

    async def touch(self, account: Account) -> None:
        """A request under the lock that changes nothing."""

    async def give(self, account: Account) -> None:
        """Give the lock back. When it returns, the change is acknowledged."""

    async def undo(self, account: Account) -> None:
        """Give the lock back without a change."""

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
