"""A task as a process of this machine: started, ended at its deadline or with its parent.

It gets SIGKILL as soon as the thread that started it is gone (PR_SET_PDEATHSIG, prctl(2)),
and so does its sandbox (docs/sandbox.md). So a killed sweep or worker leaves no run.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
#: Seconds from SIGTERM to SIGKILL for a process that is stopped.
_GRACE_S = 15.0


class TaskProcess:
    """``python -m PROGRAM FOLDER``, with a JSON value as its standard input.

    ``started_s``: CLOCK_REALTIME, in seconds.
    """

    def __init__(
        self, program: str, value: Any, folder: Path, log: Path, deadline_s: float
    ) -> None:
        """Starts it. ``log`` gets its output; ``deadline_s``: seconds from now."""
        self.started_s = time.time()
        self._deadline = time.monotonic() + deadline_s
        argv = (sys.executable, "-m", program, str(folder))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                (*_DIE_WITH_PARENT, *argv),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent only, which ends it
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value).encode())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already; its exit status and log give the reason

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    @property
    def is_overdue(self) -> bool:
        """Whether its deadline has passed."""
        return time.monotonic() > self._deadline

    def terminate(self) -> None:
        """Asks it to end (SIGTERM), if it runs."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)

    def kill_after(self, seconds: float) -> None:
        """Waits for its end, at most so long, then ends it (SIGKILL)."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def end(processes: Iterable[TaskProcess]) -> None:
    """Ends them all: SIGTERM first, then SIGKILL. Returns when they are gone."""
    several = list(processes)
    for process in several:
        process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for process in several:
        process.kill_after(deadline - time.monotonic())
