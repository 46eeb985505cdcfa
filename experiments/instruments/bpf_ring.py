"""Reads the ring buffer of a BPF program through shared memory; records of one size.

The layout is the kernel's (``kernel/bpf/ringbuf.c``): a page with the reader's position,
a page with the writer's, and the data, mapped twice in a row so that no record is split.
Each record has a header of 8 bytes: its length, and two flags.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

_HEADER_BYTES = 8
#: BPF_RINGBUF_BUSY_BIT: the record is reserved, but not filled in yet.
_BUSY = 1 << 31


class BpfRing:
    """The ring of a map of type BPF_MAP_TYPE_RINGBUF.

    Records have ``record_bytes`` bytes, a multiple of 8, and none is ever discarded.
    """

    def __init__(self, descriptor: int, ring_bytes: int, record_bytes: int) -> None:
        """Maps the ring. ``ring_bytes``: the map's max_entries. Raises :class:`OSError`."""
        self._size = ring_bytes
        self._step = _HEADER_BYTES + record_bytes
        page = mmap.PAGESIZE
        self._reader = mmap.mmap(descriptor, page)
        readable = {"flags": mmap.MAP_SHARED, "prot": mmap.PROT_READ, "offset": page}
        self._writer = mmap.mmap(descriptor, page + 2 * ring_bytes, **readable)
        self._read = memoryview(self._reader).cast("Q")
        self._written = memoryview(self._writer)[:page].cast("Q")
        self._data = memoryview(self._writer)[page:]
        self._words = self._data.cast("I")

    def read(self) -> bytes:
        """Copies all complete records, with their headers, and frees their space.

        The kernel can move its position at any time, so each position is loaded or stored
        as one machine word.
        """
        start, end = self._read[0], self._written[0]
        until = start
        while until < end and not self._words[until % self._size // 4] & _BUSY:
            until += self._step
        at = start % self._size
        records = bytes(self._data[at : at + until - start])
        self._read[0] = until
        return records

    def close(self) -> None:
        """Unmaps the ring."""
        for view in (self._read, self._written, self._words, self._data):
            view.release()
        self._reader.close()
        self._writer.close()


def records_of(data: bytes, layout: struct.Struct) -> Iterator[tuple[int | bytes, ...]]:
    """Unpacks the result of :meth:`BpfRing.read` into records, oldest first."""
    step = _HEADER_BYTES + layout.size
    for at in range(_HEADER_BYTES, len(data), step):
        yield layout.unpack_from(data, at)
