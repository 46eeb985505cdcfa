"""Block contents of the block clients, and the log of acknowledged writes."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import Enum

MAGIC = b"RSTBLK01"
#: magic, run, connection, block, generation. The block ends with its CRC-32.
HEADER = struct.Struct("!8sQIIQ")
TRAILER = struct.Struct("!I")
MIN_BLOCK_SIZE = 512


@dataclass(frozen=True)
class BlockWrite:
    """One write: run, connection, block, and sequence number of the write."""

    #: Distinguishes this run's blocks from those of an earlier run in the same place.
    run: int
    conn: int
    block: int
    generation: int

    def encode(self, size: int) -> bytes:
        """The block's ``size`` bytes: header, a pattern of this write only, CRC-32.

        The patterns of any two writes differ in every sector, so a mixture of two writes
        equals neither.
        """
        header = HEADER.pack(MAGIC, self.run, self.conn, self.block, self.generation)
        length = size - len(header) - TRAILER.size
        pattern = hashlib.sha256(header).digest()
        body = header + (pattern * (length // len(pattern) + 1))[:length]
        return body + TRAILER.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, data: bytes) -> BlockWrite | None:
        """The write that left ``data``; None for foreign or torn data."""
        if len(data) < MIN_BLOCK_SIZE or not data.startswith(MAGIC):
            return None
        write = cls(*HEADER.unpack_from(data)[1:])
        return write if write.encode(len(data)) == data else None


class WriteStatus(Enum):
    """Verification status of an acknowledged write."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    LOST = "lost"


@dataclass
class _Entry:
    write: BlockWrite
    status: WriteStatus = WriteStatus.UNVERIFIED


class BlockLog:
    """The writes of one connection to its blocks in turn, with their status.

    Use: ``write = begin()``; send it until it is acknowledged; ``acknowledge()``. Call
    ``judge()`` for every block that was read. Blocks count from 0 in the connection's
    region.
    """

    def __init__(self, run: int, conn: int, blocks: int) -> None:
        self._run, self._conn = run, conn
        self._blocks = blocks
        self._last: dict[int, _Entry] = {}
        self._overwritten = dict.fromkeys(WriteStatus, 0)
        self._generation = 0
        #: The write that is not acknowledged yet. It is repeated after a reconnect.
        self.in_flight: BlockWrite | None = None

    @property
    def next_block(self) -> int:
        """The block that :meth:`begin` writes."""
        return self._generation % self._blocks

    @property
    def written_blocks(self) -> list[int]:
        """The blocks that hold an acknowledged write."""
        return list(self._last)

    def begin(self) -> BlockWrite:
        """Start the next write."""
        write = BlockWrite(self._run, self._conn, self.next_block, self._generation)
        self._generation += 1
        self.in_flight = write
        return write

    def acknowledge(self) -> None:
        """Mark the write in flight as acknowledged. Count the overwritten one."""
        assert self.in_flight is not None
        block = self.in_flight.block
        if block in self._last:
            self._overwritten[self._last[block].status] += 1
        self._last[block] = _Entry(self.in_flight)
        self.in_flight = None

    def judge(self, block: int, data: bytes) -> bool:
        """Whether ``data``, read from ``block``, is correct.

        Correct is the last acknowledged write, or the one in flight, which may have been
        done. A lost write stays lost, even if it is found later.
        """
        entry = self._last.get(block)
        if entry is None or entry.status is WriteStatus.LOST:
            return True
        found = BlockWrite.decode(data)
        good = found is not None and found in (entry.write, self._in_flight_to(block))
        entry.status = WriteStatus.VERIFIED if good else WriteStatus.LOST
        return good

    def _in_flight_to(self, block: int) -> BlockWrite | None:
        write = self.in_flight
        return write if write is not None and write.block == block else None

    def expected(self, block: int) -> BlockWrite:
        """The last acknowledged write of ``block``."""
        return self._last[block].write

    def reopen(self) -> None:
        """Before the final verification: every block must be read again to be verified."""
        for entry in self._last.values():
            if entry.status is WriteStatus.VERIFIED:
                entry.status = WriteStatus.UNVERIFIED

    def count(self, status: WriteStatus) -> int:
        """The number of acknowledged writes with that status."""
        current = sum(entry.status is status for entry in self._last.values())
        return self._overwritten[status] + current
