"""Kernel tracepoints of one CPU, delivered through memory shared with the kernel.

A perf event belongs to the file descriptor that opened it: whatever kills the reader,
nothing stays switched on in the kernel (an instance in tracefs would stay). The filter
runs in the kernel, and the kernel counts what passed it, so a lost event shows as the
difference between counted and read. Source: perf_event_open(2), ``linux/perf_event.h``.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

#: __NR_perf_event_open; glibc has no wrapper.
_SYSCALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319}
_TYPE_TRACEPOINT = 2
_SAMPLE_TIME, _SAMPLE_RAW = 1 << 2, 1 << 10
_BIT_DISABLED, _BIT_WATERMARK, _BIT_USE_CLOCKID = 1, 1 << 14, 1 << 25
_ATTR_SIZE_VER5 = 112
_FLAG_FD_CLOEXEC = 8
_RECORD_SAMPLE = 9
_OTHER_RECORDS = {
    2: "PERF_RECORD_LOST",
    5: "PERF_RECORD_THROTTLE",
    6: "PERF_RECORD_UNTHROTTLE",
}

_IOC_ENABLE, _IOC_DISABLE = 0x2400, 0x2401
_IOC_SET_OUTPUT = 0x2405
_IOC_SET_FILTER = 1 << 30 | struct.calcsize("P") << 16 | 0x2406  # _IOW('$', 6, char *)

_ATTR = struct.Struct("=II QQQQQ II QQ QQ I i Q I HH")
_HEADER = struct.Struct("=IHH")
_SAMPLE = struct.Struct("=QI")  # time, bytes of raw data
_HEAD, _TAIL = 128, 129  # data_head, data_tail: words of struct perf_event_mmap_page

_libc = ctypes.CDLL(None, use_errno=True)


class Sample(NamedTuple):
    """One event: CLOCK_MONOTONIC nanoseconds, and the record its format describes."""

    monotonic_ns: int
    record: bytes


class PerfRing:
    """Some tracepoints on one CPU, for every process and every namespace."""

    def __init__(self, cpu: int, ring_bytes: int) -> None:
        """A ring of ``ring_bytes`` (rounded down to a power of two of pages)."""
        pages = max(1, ring_bytes // mmap.PAGESIZE)
        self._size = mmap.PAGESIZE << (pages.bit_length() - 1)
        self._cpu = cpu
        self._events: list[int] = []
        self._map: mmap.mmap | None = None
        self._words: memoryview | None = None

    def add(self, tracepoint: int, expression: str) -> None:
        """Adds the tracepoint of that id, kept where ``expression`` holds ("": always).

        The expression's language is that of ``Documentation/trace/events.rst``. Raises
        :class:`OSError`: no right, no such tracepoint, or a wrong expression.
        """
        event = _open(tracepoint, self._cpu, self._size // 4)
        self._events.append(event)
        if expression:
            fcntl.ioctl(event, _IOC_SET_FILTER, expression.encode() + b"\0")
        if self._map is None:
            self._map = mmap.mmap(event, mmap.PAGESIZE + self._size)
            self._words = memoryview(self._map)[: mmap.PAGESIZE].cast("Q")
        else:
            fcntl.ioctl(event, _IOC_SET_OUTPUT, self._events[0])

    def fileno(self) -> int:
        """For a selector: readable when a quarter of the ring is full."""
        return self._events[0]

    def enable(self) -> None:
        """Starts the events."""
        for event in self._events:
            fcntl.ioctl(event, _IOC_ENABLE, 0)

    def disable(self) -> None:
        """Stops the events; what they recorded can still be taken."""
        for event in self._events:
            fcntl.ioctl(event, _IOC_DISABLE, 0)

    def counted(self) -> list[int]:
        """How many events passed their filters, recorded or lost: one count for each
        tracepoint, in the order of :meth:`add`."""
        return [
            int.from_bytes(os.read(event, 8), sys.byteorder) for event in self._events
        ]

    def take(self) -> bytes:
        """Copies the records that are there, and gives their place back.

        The kernel reads and writes the two positions at any moment, so each is one load
        or store of a machine word: ``struct`` would clear the tail before writing it.
        """
        assert self._map is not None and self._words is not None, "add() comes first"
        head, tail = self._words[_HEAD], self._words[_TAIL]
        start, length = tail % self._size, head - tail
        first = min(length, self._size - start)
        data = mmap.PAGESIZE
        records = self._map[data + start : data + start + first]
        records += self._map[data : data + length - first]
        self._words[_TAIL] = head
        return records

    def close(self) -> None:
        """Switches everything off."""
        if self._map is not None and self._words is not None:
            self._words.release()
            self._map.close()
        for event in self._events:
            os.close(event)


def samples_of(records: bytes) -> Iterator[Sample]:
    """The samples in what :meth:`PerfRing.take` returned, oldest first."""
    for kind, at in _records(records):
        if kind == _RECORD_SAMPLE:
            when, length = _SAMPLE.unpack_from(records, at)
            raw = at + _SAMPLE.size
            yield Sample(when, records[raw : raw + length])


def other_kinds(records: bytes) -> Iterator[str]:
    """What else the kernel wrote there: names of ``enum perf_event_type``."""
    for kind, _ in _records(records):
        if kind != _RECORD_SAMPLE:
            yield _OTHER_RECORDS.get(kind, f"PERF_RECORD {kind}")


def _records(records: bytes) -> Iterator[tuple[int, int]]:
    """The kind of each record, and where what follows its header begins."""
    at = 0
    while at < len(records):
        kind, _, size = _HEADER.unpack_from(records, at)
        yield kind, at + _HEADER.size
        at += size


def _open(tracepoint: int, cpu: int, wakeup_bytes: int) -> int:
    flags = _BIT_DISABLED | _BIT_WATERMARK | _BIT_USE_CLOCKID
    fields = [0] * 19
    fields[0], fields[1], fields[2] = _TYPE_TRACEPOINT, _ATTR_SIZE_VER5, tracepoint
    fields[3], fields[4] = 1, _SAMPLE_TIME | _SAMPLE_RAW  # sample every event
    fields[6], fields[7] = flags, wakeup_bytes
    # The only clock a tracepoint may use that other programs can read as well
    # (perf_event_set_clock in kernel/events/core.c: it must be safe in an NMI).
    fields[14] = time.CLOCK_MONOTONIC
    attr = ctypes.create_string_buffer(_ATTR.pack(*fields), _ATTR_SIZE_VER5)
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"perf_event_open: unknown machine {platform.machine()}")
    every_process, no_group = ctypes.c_long(-1), ctypes.c_long(-1)
    event = _libc.syscall(
        ctypes.c_long(number),
        attr,
        every_process,
        ctypes.c_long(cpu),
        no_group,
        ctypes.c_long(_FLAG_FD_CLOEXEC),
    )
    if event < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"perf_event_open: {os.strerror(error)}")
    return int(event)
