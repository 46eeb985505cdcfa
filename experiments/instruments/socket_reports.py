"""The programs of ``sockets.bpf.c``: reports of sockets' changes, from the kernel."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from pathlib import Path

from experiments.instruments.bpf_ring import BpfRing
from experiments.record.socket_events import REPORT
from nodes.kernel.bpf_build import compile_program
from nodes.kernel.libbpf import BpfObject

SOURCE = Path(__file__).with_name("sockets.bpf.c")
#: By kind, from 1 on. Each has a stand-in, which reports what interrupts it.
PROGRAMS = ("socket_state", "reset_received", "reset_sent")
#: ``max_entries`` of the ring.
RING_BYTES = 1 << 24

_PORT, _NAMESPACE, _KIND, _COUNT = (struct.Struct(f"={form}") for form in "HIIQ")
_SELECTED = b"\1"


class SocketReports:
    """The programs and their ring. Nothing is reported before something is selected."""

    def __init__(self) -> None:
        """Loads the programs without attaching them.

        Raises :class:`~nodes.kernel.libbpf.BpfError` or :class:`OSError`: no clang, no BTF, no
        such tracepoint, or no permission to trace.
        """
        self._object = BpfObject(compile_program(SOURCE))
        self._lost = self._object.map("lost", _COUNT.size)
        self._stood_in = self._object.map("stood_in", _COUNT.size)
        self._ports = self._object.map("ports", len(_SELECTED))
        self._namespaces = self._object.map("namespaces", len(_SELECTED))
        descriptor = self._object.map_descriptor("reports")
        self._ring = BpfRing(descriptor, RING_BYTES, REPORT.size)

    def select_ports(self, ports: Iterable[int]) -> None:
        """Sockets with such a TCP port are reported, in every network namespace."""
        for port in ports:
            self._ports.set(_PORT.pack(port), _SELECTED)

    def select_namespaces(self, inodes: Iterable[int]) -> None:
        """Every socket in those network namespaces is reported."""
        for inode in inodes:
            self._namespaces.set(_NAMESPACE.pack(inode), _SELECTED)

    def drop_namespaces(self, inodes: Iterable[int]) -> None:
        """Those are no longer selected."""
        for inode in inodes:
            self._namespaces.delete(_NAMESPACE.pack(inode))

    def enable(self) -> None:
        """Attaches the programs."""
        for program in PROGRAMS:
            self._object.attach(program)
            self._object.attach(f"{program}_2")

    def unread(self) -> bytes:
        """The reports that were not read yet, for ``records_of``."""
        return self._ring.read()

    @property
    def lost(self) -> int:
        """Reports that found the ring full, and changes that no program was run for."""
        (full,) = _COUNT.unpack(self._lost.get(bytes(4)))
        # Read in this order: an interruption between the two readings is not a loss.
        missed = self.interrupting - self.stood_in
        return int(full) + max(0, missed)

    @property
    def interrupting(self) -> int:
        """How many changes interrupted a program, so that it was not run for them."""
        return sum(self._object.program_misses(program) for program in PROGRAMS)

    @property
    def stood_in(self) -> int:
        """For how many of these the stand-in was run."""
        kinds = range(1, len(PROGRAMS) + 1)
        counts = (self._stood_in.get(_KIND.pack(kind)) for kind in kinds)
        return sum(_COUNT.unpack(count)[0] for count in counts)

    def close(self) -> None:
        """Lets go of ring, maps and programs. Attached ones stay until the process ends."""
        self._ring.close()
        self._object.close()


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the fastest of 50 readings."""
    readings = []
    for _ in range(50):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        readings.append((after - before, real - (before + after) // 2))
    return min(readings)[1]
