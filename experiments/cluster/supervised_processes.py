"""Programs that a cluster keeps running: started, watched, started again, ended by pid."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Program(Protocol):
    """A running program: what is needed of ``subprocess.Popen``, or of its like."""

    def poll(self) -> int | None:
        """None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises :class:`subprocess.TimeoutExpired`."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""


#: Starts one program; called again when it has died unasked.
StartProgram = Callable[[], Program]


@dataclass
class SupervisedProcess:
    """One program: how to start it, its process, and how often it had to be restarted."""

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
        """Ends programs: SIGTERM to all, SIGKILL to those left after ``grace_s``."""
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
        """Leaves a program to whoever is going to kill it; it is not started again."""
        supervised = self.running.pop(name)
        self._released.append(supervised.process)

    def dead(self) -> list[SupervisedProcess]:
        """Those that died unasked."""
        self._released = [dead for dead in self._released if dead.poll() is None]
        return [c for c in self.running.values() if c.process.poll() is not None]

    def restart(self, supervised: SupervisedProcess) -> None:
        """Starts a dead one again."""
        supervised.process = supervised.start()
        supervised.restarts += 1

    def stop_all(self) -> None:
        """Ends every program, the youngest first."""
        self.stop(*reversed(list(self.running)))


def _send(supervised: SupervisedProcess, number: signal.Signals) -> None:
    if supervised.process.poll() is None:
        supervised.process.send_signal(number)
