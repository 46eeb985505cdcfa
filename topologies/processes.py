"""Processes identified by pid and start time, so that a reused pid is never signalled.

A pid can be reused as soon as its process has been reaped. Pid and start time together
identify one process until the machine's next boot.
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
    """One process, running or not; never another one that reuses its pid."""

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

        It runs if only its first thread has ended: it still holds its files and locks.
        """
        stat = _stat(self.pid)
        if stat is None or stat.start_time != self.start_time:
            return False
        return stat.state not in "ZX" or stat.threads > 1

    def send(self, signum: int) -> None:
        """Send it a signal; never to another process that reuses its pid."""
        with self._pidfd() as pidfd, suppress(ProcessLookupError):
            if pidfd is not None:
                signal.pidfd_send_signal(pidfd, signum)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ends within ``timeout_s``; it does not have to be our child."""
        with self._pidfd() as pidfd:
            if pidfd is None:
                return True
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000))

    @contextmanager
    def _pidfd(self) -> Iterator[int | None]:
        """A pidfd of exactly this process; None if it has ended."""
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
    """State, threads and start time of a process; None if it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may contain spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[17]), int(fields[19]))


def processes_in_network(pid: int) -> list[Process]:
    """Every live process in the network namespace of process ``pid``, including it."""
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
