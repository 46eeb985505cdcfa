"""Processes told apart for all time, so that none is signalled for another.

A pid alone may be given to a new process as soon as the old one has been reaped; with
the start time beside it, it names one process for as long as the machine runs.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Process:
    """One process, running or not; never another one that has its pid by now."""

    pid: int
    #: Clock ticks since boot: field 22 of ``/proc/PID/stat``, proc(5).
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has ``pid`` now. Raises :class:`ProcessLookupError`."""
        stat = _stat(pid)
        if stat is None:
            raise ProcessLookupError(pid)
        return cls(pid, stat.start_time)

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not.

        One of which only the first thread has ended does: its files and locks are held.
        """
        stat = _stat(self.pid)
        if stat is None or stat.start_time != self.start_time:
            return False
        return stat.state not in "ZX" or stat.threads > 1

    def send(self, signum: int) -> None:
        """Send it a signal, and never another process that has its pid by now."""
        with self._pidfd() as pidfd, suppress(ProcessLookupError):
            if pidfd is not None:
                signal.pidfd_send_signal(pidfd, signum)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ends within ``timeout_s``; it need not be a child of ours."""
        with self._pidfd() as pidfd:
            if pidfd is None:
                return True
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000))

    @contextmanager
    def _pidfd(self) -> Iterator[int | None]:
        """A descriptor of this very process; None if it has ended."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield pidfd if self.alive() else None
        finally:
            os.close(pidfd)


class _Stat(NamedTuple):
    """Fields 3, 20 and 22 of ``/proc/PID/stat``, proc(5)."""

    state: str
    threads: int
    start_time: int


def _stat(pid: int) -> _Stat | None:
    """State, threads and start time of a process; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[17]), int(fields[19]))


def processes_in_network(pid: int) -> list[Process]:
    """Every live process in the network namespace of process ``pid``, itself too."""
    namespace = _network_namespace(pid)
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    found = []
    for each in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            if _network_namespace(each) == namespace:
                found.append(Process.of(each))
    return [process for process in found if process.alive()]


def _network_namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")
