"""The registry of sandboxes on this machine: their names and processes.

A run has a directory ``/run/resetbed/NAME`` with an owner record in it. A record whose
processes have ended is stale. The next :func:`remove_dead_runs` (every start calls it)
removes it. So no code has to run at the end of a run to free its name, and ``kill -9`` of
any process is safe.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from topologies.private import make_folder, open_new
from topologies.processes import Process

RUNS = Path("/run/resetbed")

#: Environment variable with the run's name, in a sandbox.
RUN_VARIABLE = "RESETBED_RUN"

#: The kernel ends a namespace's processes in well under 1 s; more is an error.
KILL_TIMEOUT_S = 10.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class SandboxError(RuntimeError):
    """A run cannot be started, found or ended; the message says why."""


class AlreadyRunning(SandboxError):
    """A run of that name is alive."""


class NotRunning(SandboxError):
    """No run of that name is alive."""


@dataclass(frozen=True)
class Run:
    """One sandbox: its name and its two essential processes."""

    name: str
    #: PID 1 of the sandbox, as seen from outside: nsenter(1)'s target.
    init: Process
    #: The ``unshare`` that created it; it holds the namespaces until it ends.
    outer: Process
    #: Start time, seconds of CLOCK_REALTIME.
    started_s: float

    @property
    def directory(self) -> Path:
        """The directory of its record, log and sockets, visible inside and outside."""
        return run_directory(self.name)

    @property
    def proc(self) -> Path:
        """Its procfs, seen from outside: there its processes have the ids of inside."""
        return Path("/proc") / str(self.init.pid) / "root" / "proc"

    def alive(self) -> bool:
        """Whether its PID 1 runs."""
        return self.init.alive()

    def register(self) -> None:
        """Write the owner record; callers hold the :func:`registry_lock`."""
        replace_json(self.directory / "owner.json", asdict(self))

    @classmethod
    def read(cls, name: str) -> Run | None:
        """The run of the owner record of ``name``, dead or alive."""
        try:
            record = json.loads((run_directory(name) / "owner.json").read_text())
            return cls(
                name,
                Process(**record["init"]),
                Process(**record["outer"]),
                record["started_s"],
            )
        except (FileNotFoundError, NotADirectoryError):
            return None

    @classmethod
    def started(cls, name: str, init_pid: int, outer_pid: int) -> Run:
        """A run that starts now, with these two processes."""
        return cls(name, Process.of(init_pid), Process.of(outer_pid), time.time())


def check_name(name: str) -> str:
    """``name`` itself if it is valid for a run. Raises :class:`SandboxError`."""
    if not _NAME.fullmatch(name):
        raise SandboxError(
            f"{name!r} cannot name a run: 1 to 32 letters, digits, - and _"
        )
    return name


def run_directory(name: str) -> Path:
    """The directory of the run of that name, whether it exists or not."""
    return RUNS / check_name(name)


@contextmanager
def registry_lock() -> Iterator[None]:
    """Lock the registry: starts, ends and clean-ups are serialised.

    Raises :class:`SandboxError` inside a sandbox: its pids have another meaning there, and
    every other run would look dead.
    """
    if RUN_VARIABLE in os.environ:
        raise SandboxError(
            f"this is inside the sandbox of {os.environ[RUN_VARIABLE]!r}"
        )
    with suppress(FileExistsError):
        make_folder(RUNS)
    with open(open_new(RUNS / ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def list_runs() -> list[Run]:
    """Every live run, by name."""
    runs = (Run.read(name) for name in _registered())
    return [run for run in runs if run is not None and run.alive()]


def find_run(name: str) -> Run:
    """The live run of that name. Raises :class:`NotRunning`, which lists live runs."""
    run = Run.read(name)
    if run is None or not run.alive():
        others = ", ".join(other.name for other in list_runs()) or "none"
        raise NotRunning(f"{name!r} is not running; running: {others}")
    return run


def is_alive(name: str) -> bool:
    """Whether a run of that name is alive."""
    run = Run.read(name)
    return run is not None and run.alive()


def kill(name: str) -> bool:
    """Kill a run and everything in it; False if it was not running.

    Returns when its processes have ended. Raises :class:`SandboxError` if they do not.
    """
    with registry_lock():
        run = Run.read(name)
        was_alive = run is not None and run.alive()
        if run is not None:
            _end(run)
        remove_dead_runs_locked()
    return was_alive


def remove_dead_runs() -> list[str]:
    """Remove the directories of dead runs. Returns their names."""
    with registry_lock():
        return remove_dead_runs_locked()


def remove_dead_runs_locked() -> list[str]:
    """As :func:`remove_dead_runs`; callers hold the :func:`registry_lock`."""
    live = {run.name for run in list_runs()}
    dead = [name for name in _registered() if name not in live]
    for name in dead:
        shutil.rmtree(RUNS / name, ignore_errors=True)
    return dead


def replace_json(path: Path, data: Mapping[str, object]) -> None:
    """Write ``data`` to ``path`` atomically: a reader sees the old file or the new one."""
    partial = path.with_suffix(".partial")
    with open(open_new(partial), "w") as file:
        file.write(json.dumps(data) + "\n")
    partial.replace(path)


def _registered() -> list[str]:
    if not RUNS.is_dir():
        return []
    return sorted(entry.name for entry in RUNS.iterdir() if _NAME.fullmatch(entry.name))


def _end(run: Run) -> None:
    """Kill PID 1; the kernel then kills the rest of its pid namespace."""
    run.init.send(signal.SIGKILL)
    for process in (run.init, run.outer):
        if not process.wait(KILL_TIMEOUT_S):
            raise SandboxError(f"run {run.name!r}: process {process.pid} does not end")
