"""What an NBD client writes and what it must find again: block contents and a ledger."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import Enum

MAGIC = b"RSTBLK01"
#: magic, run, connection, block, generation; the CRC-32 of the whole block ends it.
HEADER = struct.Struct("!8sQIIQ")
TRAILER = struct.Struct("!I")
SMALLEST_BLOCK = 512


@dataclass(frozen=True)
class Write:
    """One write: which run's, which connection's, where to, and the how manieth."""

    #: Tells this run's blocks from those that an earlier run left in the same place.
    run: int
    conn: int
    block: int
    generation: int

    def encode(self, size: int) -> bytes:
        """The block's ``size`` bytes: header, a pattern that fits only it, CRC-32.

        The pattern differs in every sector between any two writes, so that a block
        that is half one write and half another equals neither.
        """
        header = HEADER.pack(MAGIC, self.run, self.conn, self.block, self.generation)
        length = size - len(header) - TRAILER.size
        pattern = hashlib.sha256(header).digest()
        body = header + (pattern * (length // len(pattern) + 1))[:length]
        return body + TRAILER.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, data: bytes) -> Write | None:
        """The write that left ``data``, or None: nothing of ours, or torn."""
        if len(data) < SMALLEST_BLOCK or not data.startswith(MAGIC):
            return None
        write = cls(*HEADER.unpack_from(data)[1:])
        return write if write.encode(len(data)) == data else None


class Verdict(Enum):
    """How an acknowledged write stands."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    LOST = "lost"


@dataclass
class _Entry:
    write: Write
    verdict: Verdict = Verdict.UNVERIFIED


class Ledger:
    """What one connection has written to its blocks, in turn, and how that stands.

    Use: ``write = begin()``, send it until it is acknowledged, ``acknowledge()``; and
    ``judge()`` whatever is read. ``block`` counts from 0 in the connection's region.
    """

    def __init__(self, run: int, conn: int, blocks: int) -> None:
        self._run, self._conn = run, conn
        self._blocks = blocks
        self._last: dict[int, _Entry] = {}
        self._overwritten = dict.fromkeys(Verdict, 0)
        self._generation = 0
        #: The write that was sent and is not acknowledged; it must be sent again.
        self.in_flight: Write | None = None

    @property
    def next_block(self) -> int:
        """The block that :meth:`begin` writes."""
        return self._generation % self._blocks

    @property
    def written_blocks(self) -> list[int]:
        """The blocks that hold an acknowledged write."""
        return list(self._last)

    def begin(self) -> Write:
        """The next write, in flight from now."""
        write = Write(self._run, self._conn, self.next_block, self._generation)
        self._generation += 1
        self.in_flight = write
        return write

    def acknowledge(self) -> None:
        """The write in flight was acknowledged; what it overwrote is history."""
        assert self.in_flight is not None
        block = self.in_flight.block
        if block in self._last:
            self._overwritten[self._last[block].verdict] += 1
        self._last[block] = _Entry(self.in_flight)
        self.in_flight = None

    def judge(self, block: int, data: bytes) -> bool:
        """Whether ``data``, read from ``block``, is as it should be.

        Should be: the last acknowledged write, or the one in flight, which may or may
        not have been done. A lost write stays lost even if it comes back later.
        """
        entry = self._last.get(block)
        if entry is None or entry.verdict is Verdict.LOST:
            return True
        found = Write.decode(data)
        good = found is not None and found in (entry.write, self._in_flight_to(block))
        entry.verdict = Verdict.VERIFIED if good else Verdict.LOST
        return good

    def _in_flight_to(self, block: int) -> Write | None:
        write = self.in_flight
        return write if write is not None and write.block == block else None

    def expected(self, block: int) -> Write:
        """The last write acknowledged in ``block``."""
        return self._last[block].write

    def reopen(self) -> None:
        """Before the final look: what was verified must be seen once more to count."""
        for entry in self._last.values():
            if entry.verdict is Verdict.VERIFIED:
                entry.verdict = Verdict.UNVERIFIED

    def count(self, verdict: Verdict) -> int:
        """How many acknowledged writes stand so; summed over verdicts, all of them."""
        standing = sum(entry.verdict is verdict for entry in self._last.values())
        return self._overwritten[verdict] + standing
