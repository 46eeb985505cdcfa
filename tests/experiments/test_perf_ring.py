"""What the kernel wrote into a ring, record by record (linux/perf_event.h)."""

from __future__ import annotations

import struct

from experiments.instruments.perf_ring import Sample, other_kinds, samples_of

HEADER = struct.Struct("=IHH")


def record(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, 0, HEADER.size + len(body)) + body


SAMPLE = record(9, struct.pack("=QI", 1234, 4) + b"abcd")
LOST = record(2, struct.pack("=QQ", 7, 3))
NOVEL = record(99, b"")


def test_samples_are_taken_in_their_order_and_all_else_is_named() -> None:
    records = SAMPLE + LOST + SAMPLE + NOVEL
    assert list(samples_of(records)) == [Sample(1234, b"abcd")] * 2
    assert list(other_kinds(records)) == ["PERF_RECORD_LOST", "PERF_RECORD 99"]


def test_an_empty_ring_holds_nothing() -> None:
    assert not list(samples_of(b""))
    assert not list(other_kinds(b""))
