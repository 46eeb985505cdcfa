"""CPU load of the machine, and the wake-up delay of processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

#: Columns of ``cpu`` in /proc/stat (proc(5)): processes, idle, steal.
_BY_PROCESSES = (0, 1, 2)
_IDLE = (3, 4)
_STEAL = 7
#: Duration of each sleep that measures the wake-up delay, in seconds.
_SLEEP_S = 0.005
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """Load of the machine during a measurement. Shares are of all cores, 0 to 1.

    ``cpu_seconds``: CPU time of the processes of this sandbox. ``strangers``: share of
    processes outside of this sandbox. ``stolen``: share of other virtual machines.
    ``late_*_ms``: wake-up delay of a sleeping process. ``backlog_drops``: packets that the
    kernel dropped between interfaces.
    """

    seconds: float
    cpu_seconds: float
    busy: float
    strangers: float
    stolen: float
    late_p99_ms: float
    late_max_ms: float
    backlog_drops: int
    load_average: float

    def to_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


class LoadMeter:
    """``with LoadMeter() as meter: ...``; then ``meter.load``."""

    load: Load

    def __enter__(self) -> LoadMeter:
        self._ending = threading.Event()
        self._late: list[float] = []
        self._thread = threading.Thread(target=self._measure_wakeups, daemon=True)
        self._before = _Reading.now()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self.load = _Reading.now().since(self._before, sorted(self._late))

    def _measure_wakeups(self) -> None:
        """At least once: a measurement may end before this thread gets a processor."""
        while not self._late or not self._ending.is_set():
            begun = time.monotonic()
            time.sleep(_SLEEP_S)
            self._late.append((time.monotonic() - begun - _SLEEP_S) * 1e3)


@dataclass(frozen=True)
class _Reading:
    """The kernel's counters at one instant."""

    at_s: float
    cpu: Sequence[int]
    ours: int
    drops: int

    @classmethod
    def now(cls) -> _Reading:
        cpu = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ours = sum(_cpu_ticks(pid) for pid in processes())
        return cls(time.monotonic(), [int(word) for word in cpu], ours, _drops())

    def since(self, before: _Reading, late: Sequence[float]) -> Load:
        passed = [b - a for a, b in zip(before.cpu, self.cpu, strict=True)]
        spent = sum(passed[:8])
        total = max(1, spent)
        by_processes = sum(passed[i] for i in _BY_PROCESSES)
        ours = min(self.ours - before.ours, by_processes)
        return Load(
            seconds=self.at_s - before.at_s,
            cpu_seconds=ours / _TICKS_PER_S,
            busy=(spent - sum(passed[i] for i in _IDLE)) / total,
            strangers=(by_processes - ours) / total,
            stolen=passed[_STEAL] / total,
            late_p99_ms=late[int(0.99 * (len(late) - 1))],
            late_max_ms=late[-1],
            backlog_drops=self.drops - before.drops,
            load_average=os.getloadavg()[0],
        )


def processes() -> list[int]:
    """Ids of all processes of this sandbox."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def resident_mib() -> float:
    """Memory of all processes of this sandbox. Shared memory counts once."""
    return sum(_proportional_kib(pid) for pid in processes()) / 1024


def available_mib() -> float:
    """Available memory of the machine (MemAvailable, proc(5))."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def _proportional_kib(pid: int) -> int:
    for line in _lines(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _cpu_ticks(pid: int) -> int:
    """CPU time of a process and of its children that were waited for."""
    for line in _lines(f"/proc/{pid}/stat"):
        return sum(map(int, line.rpartition(")")[2].split()[11:15]))
    return 0


def _drops() -> int:
    """Packets dropped because a CPU's backlog was full (second column)."""
    rows = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(row.split()[1], 16) for row in rows)


def _lines(path: str) -> Iterator[str]:
    """The lines of a process's file; none if the process has ended."""
    with suppress(OSError):
        yield from Path(path).read_text().splitlines()
