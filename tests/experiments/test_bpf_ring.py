"""Records in a ring as the kernel lays it out (kernel/bpf/ringbuf.c), without a kernel."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from experiments.instruments.bpf_ring import BpfRing, records_of

PAGE = mmap.PAGESIZE
LAYOUT = struct.Struct("=QQ")
STEP = 8 + LAYOUT.size
BUSY = 1 << 31
#: A whole number of records, so that none is split where the data are mapped once only.
SIZE = PAGE * 3


class Kernel:
    """The writer's side, in a file that is mapped as a ring is."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * PAGE + 2 * SIZE)

    def commit(self, place: int, first: int, flags: int = 0) -> None:
        """Record number ``place`` is there, or reserved; the position moves past it."""
        header = struct.pack("=II", LAYOUT.size | flags, 0)
        at = 2 * PAGE + place * STEP % SIZE
        os.pwrite(self.descriptor, header + LAYOUT.pack(first, 7), at)
        os.pwrite(self.descriptor, struct.pack("=Q", (place + 1) * STEP), PAGE)

    def read_until(self) -> int:
        """The reader's position."""
        return int(struct.unpack("=Q", os.pread(self.descriptor, 8, 0))[0])


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def ring(kernel: Kernel) -> Iterator[BpfRing]:
    made = BpfRing(kernel.descriptor, SIZE, LAYOUT.size)
    yield made
    made.close()


def taken(ring: BpfRing) -> list[int]:
    return [record[0] for record in records_of(ring.read(), LAYOUT)]  # type: ignore[misc]


def test_records_are_taken_once_and_in_their_order(
    kernel: Kernel, ring: BpfRing
) -> None:
    assert taken(ring) == []
    kernel.commit(0, 11)
    kernel.commit(1, 12)
    assert taken(ring) == [11, 12]
    assert taken(ring) == []
    kernel.commit(2, 13)
    assert taken(ring) == [13]
    assert kernel.read_until() == 3 * STEP


def test_reading_stops_at_a_reserved_record(kernel: Kernel, ring: BpfRing) -> None:
    kernel.commit(0, 11)
    kernel.commit(1, 0, flags=BUSY)
    kernel.commit(2, 13)
    assert taken(ring) == [11]
    kernel.commit(1, 12)
    kernel.commit(2, 13)
    assert taken(ring) == [12, 13]


def test_the_ring_is_used_again_from_its_beginning(
    kernel: Kernel, ring: BpfRing
) -> None:
    room = SIZE // STEP
    for place in range(3 * room):
        kernel.commit(place, place)
        assert taken(ring) == [place]
