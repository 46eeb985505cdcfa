"""The programs that a cluster keeps running: start, restart, and stop by process id."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Program(Protocol):
    """A running program: the methods of ``subprocess.Popen`` that are used here."""

    def poll(self) -> int | None:
        """None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it ends. Raises :class:`subprocess.TimeoutExpired`."""

    def send_signal(self, sig: int, /) -> None:
        """Sends it a signal."""


#: Starts one program. Called again for each restart.
StartProgram = Callable[[], Program]


@dataclass
class SupervisedProcess:
    """One program: how to start it, its process, and the number of its restarts."""

    name: str
    start: StartProgram
    process: Program
    restarts: int = 0


@dataclass
class SupervisedProcesses:
    """The programs of a cluster by name. Not thread-safe: callers hold one lock."""

    running: dict[str, SupervisedProcess] = field(default_factory=dict)
    _released: list[Program] = field(default_factory=list)

    def start(self, name: str, start: StartProgram) -> SupervisedProcess:
        """Starts a program under a name that is not in use."""
        if name in self.running:
            raise ValueError(f"{name} is running already")
        supervised = self.running[name] = SupervisedProcess(name, start, start())
        return supervised

    def stop(self, *names: str, grace_s: float = 2.0) -> None:
        """Stops programs: SIGTERM to all, SIGKILL to those that run after ``grace_s``."""
        ending = [self.running.pop(name) for name in names if name in self.running]
        for supervised in ending:
            _send(supervised, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for supervised in ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervised.process.wait(max(0.0, deadline - time.monotonic()))
        for supervised in ending:
            _send(supervised, signal.SIGKILL)
            supervised.process.wait()

    def release(self, name: str) -> None:
        """Stops supervising a program; the caller kills it. It is not restarted."""
        supervised = self.running.pop(name)
        self._released.append(supervised.process)

    def dead(self) -> list[SupervisedProcess]:
        """Programs that have ended without being stopped."""
        self._released = [one for one in self._released if one.poll() is None]
        return [c for c in self.running.values() if c.process.poll() is not None]

    def restart(self, supervised: SupervisedProcess) -> None:
        """Restarts a program that has ended."""
        supervised.process = supervised.start()
        supervised.restarts += 1

    def stop_all(self) -> None:
        """Stops every program, in the reverse order of their starts."""
        self.stop(*reversed(list(self.running)))


def _send(supervised: SupervisedProcess, number: signal.Signals) -> None:
    if supervised.process.poll() is None:
        supervised.process.send_signal(number)
