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
Start = Callable[[], Program]


@dataclass
class Child:
    """One program: how to start it, its process, and how often it had to be restarted."""

    name: str
    start: Start
    process: Program
    restarts: int = 0


@dataclass
class Children:
    """The programs of a cluster by name. Not thread-safe: callers hold one lock."""

    running: dict[str, Child] = field(default_factory=dict)
    _abandoned: list[Program] = field(default_factory=list)

    def start(self, name: str, start: Start) -> Child:
        """Starts a program under a name that is not in use."""
        if name in self.running:
            raise ValueError(f"{name} is running already")
        child = self.running[name] = Child(name, start, start())
        return child

    def stop(self, *names: str, grace_s: float = 2.0) -> None:
        """Ends programs: SIGTERM to all, SIGKILL to those left after ``grace_s``."""
        ending = [self.running.pop(name) for name in names if name in self.running]
        for child in ending:
            _send(child, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for child in ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
        for child in ending:
            _send(child, signal.SIGKILL)
            child.process.wait()

    def abandon(self, name: str) -> None:
        """Leaves a program to whoever is going to kill it; it is not started again."""
        child = self.running.pop(name)
        self._abandoned.append(child.process)

    def dead(self) -> list[Child]:
        """Those that died unasked."""
        self._abandoned = [dead for dead in self._abandoned if dead.poll() is None]
        return [c for c in self.running.values() if c.process.poll() is not None]

    def restart(self, child: Child) -> None:
        """Starts a dead one again."""
        child.process = child.start()
        child.restarts += 1

    def stop_all(self) -> None:
        """Ends every program, the youngest first."""
        self.stop(*reversed(list(self.running)))


def _send(child: Child, number: signal.Signals) -> None:
    if child.process.poll() is None:
        child.process.send_signal(number)
