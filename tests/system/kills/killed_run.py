"""Makes a run, kills one of its processes, and looks at what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.system.commands import ROOT, eventually
from tests.system.kills.kill_schedule import OBSERVE_S, STEADY_S, Kill
from tests.system.kills.victims import INIT, LAUNCHER, UNSHARE, Victim
from tests.topologies.traces import KINDS, Traces, all_pids, machine, namespaces_of
from topologies import sandbox
from topologies.processes import Process
from topologies.runs import RUNS, Run

#: A run that lasts longer hangs, in seconds.
END_S = 100.0
#: What was killed is gone after that time, in seconds.
GONE_S = 10.0

_SPEC = {
    "scenario": "kill-anywhere",
    "policy": "flood",
    "cluster": {"chassis": 2, "nodes": 2, "clients": 2},
    "events": [{"at": 0, "kind": "drain-node", "target": "c1n2"}],
    "steady_s": STEADY_S,
    "observe_s": OBSERVE_S,
    "capture": False,
}


@dataclass
class Ending:
    """How a run ended, of which a process was killed, and what it left."""

    #: The process that was killed; None: none was there to be killed.
    victim: Process | None
    #: Where it was: the name of a host or a switch; empty: in no network of its own.
    host: str
    #: Of the launcher, as in :mod:`subprocess`.
    status: int
    errors: str
    #: Processes and namespaces that still exist, and differences of the machine.
    left: Sequence[object]
    #: None if the run did not come to its end.
    summary: Mapping[str, Any] | None
    connections: Sequence[Mapping[str, Any]] = ()
    #: Connections that had no answer at the end, as the clients have it.
    hung: int = 0
    #: Programs that the supervisor started again.
    restarted: Sequence[str] = field(default_factory=list)


def kill_in_run(kill: Kill, folder: Path) -> Ending:
    """Makes the run of that kill, kills, and waits for the end of all of it."""
    before = machine()
    with _running(kill, folder) as life:
        victim, host = _kill_at_its_instant(kill, life)
        traces = life.traces
        status = life.end()
    name = f"run-{life.launcher.pid}"
    with suppress(AssertionError):
        eventually(
            "nothing is left",
            lambda: not _left_of(traces) and _is_removed(name),
            GONE_S,
        )
    left: list[object] = _left_of(traces)
    left += [] if machine() == before else ["the machine's interfaces or mounts differ"]
    left += [RUNS / name] if (RUNS / name).exists() else []
    out = folder / "out"
    return Ending(victim, host, status, life.errors(), left, **_results(out))


class _Life:
    """A run as it goes on: its launcher, its sandbox, its progress."""

    def __init__(self, launcher: subprocess.Popen[str]) -> None:
        self.launcher = launcher
        self.run: Run | None = None
        self.traces = Traces(frozenset(), frozenset())
        self._lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def await_word(self, word: str) -> float:
        """When it said so for the first time (CLOCK_MONOTONIC); now, if it has ended."""
        deadline = time.monotonic() + END_S
        while self.launcher.poll() is None and time.monotonic() < deadline:
            for when_s, line in list(self._lines):
                if line.startswith(word):
                    return when_s
            time.sleep(0.005)
        return time.monotonic()

    def await_sandbox(self) -> Run | None:
        """Its sandbox, when it is there; None if the launcher has ended before."""
        while self.run is None and self.launcher.poll() is None:
            self.run = Run.read(f"run-{self.launcher.pid}")
            time.sleep(0.002)
        return self.run

    def look(self) -> None:
        """Remembers what must be gone when it has ended."""
        if self.run is not None:
            with suppress(OSError):
                now = Traces.of(self.run)
                self.traces = Traces(
                    self.traces.processes | now.processes,
                    self.traces.namespaces | now.namespaces,
                )

    def end(self) -> int:
        """Waits for its end; its status. Raises :class:`subprocess.TimeoutExpired`."""
        status = self.launcher.wait(END_S)
        self._reader.join(GONE_S)
        return status

    def errors(self) -> str:
        """What it has written to standard error."""
        return "".join(line for _, line in self._lines)

    def _read(self) -> None:
        assert self.launcher.stderr
        for line in self.launcher.stderr:
            self._lines.append((time.monotonic(), line))


@contextmanager
def _running(kill: Kill, folder: Path) -> Iterator[_Life]:
    victim = kill.victim
    connections = 8 if victim.workload == "postgres" else 24
    workload = {"kind": victim.workload, "connections": connections, "interval_ms": 50}
    spec = {**_SPEC, "workload": workload, "seed": kill.seed}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    options = [word for one in victim.settings for word in ("--set", one)]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", str(folder / "spec.yaml")]
        + ["--out", str(folder / "out"), *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield _Life(launcher)
    finally:
        launcher.kill()  # its sandbox ends with it
        launcher.wait()


def _kill_at_its_instant(kill: Kill, life: _Life) -> tuple[Process | None, str]:
    """Kills; returns the process, and the host where it was."""
    if life.await_sandbox() is None:
        return None, ""
    phase = kill.phase
    began_s = life.await_word(phase.word) if phase.word else time.monotonic()
    _sleep_until(began_s + kill.delay_s)
    # While all starts, it is waited for: a program may die as soon as it lives.
    patience_s = 0.0 if phase.word else END_S
    victim = _find(kill, life, patience_s)
    life.look()
    if victim is None:
        return None, ""
    host = _host_of(victim.pid)
    victim.send(signal.SIGKILL)
    return victim, host


def _find(kill: Kill, life: _Life, patience_s: float) -> Process | None:
    deadline = time.monotonic() + patience_s
    while life.launcher.poll() is None:
        found = _of_kind(kill.victim, life)
        if found:
            return found[kill.rank % len(found)]
        if time.monotonic() > deadline:
            return None
    return None


def _of_kind(victim: Victim, life: _Life) -> list[Process]:
    """The run's processes of that kind, by their ids."""
    assert life.run
    known = {
        LAUNCHER: life.launcher.pid,
        UNSHARE: life.run.outer.pid,
        INIT: life.run.init.pid,
    }
    found = []
    with suppress(OSError):
        if victim.name in known:
            return [Process.of(known[victim.name])]
        inside = os.readlink(f"/proc/{life.run.init.pid}/ns/pid")
        for pid in sorted(all_pids()):
            with suppress(OSError):
                if inside in namespaces_of(pid, ["pid"]) and _is_one(victim, pid, life):
                    found.append(Process.of(pid))
    return found


def _is_one(victim: Victim, pid: int, life: _Life) -> bool:
    if not victim.is_called(_words(pid)):
        return False
    assert life.run
    own = namespaces_of(pid, ["net"]) != namespaces_of(life.run.init.pid, ["net"])
    return victim.on_host in (None, own)


def _host_of(pid: int) -> str:
    """The host or switch in whose network a process is, by that one's shell."""
    network = namespaces_of(pid, ["net"])
    for each in all_pids():
        _, found, name = _words(each).partition(" -is mininet:")
        if found and namespaces_of(each, ["net"]) == network:
            return name.strip()
    return ""


def _words(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace")


def _is_removed(name: str) -> bool:
    """Whether the run's folder goes with the next start, which this stands for."""
    sandbox.remove_dead_runs()
    return not (RUNS / name).exists()


def _left_of(traces: Traces) -> list[object]:
    """What still exists of a run: its processes, and others in its namespaces.

    The kernel gives the number of a namespace that has ended to the next one. So of
    processes in them only those count that are as old as the run's.
    """
    alive: list[object] = [one for one in traces.processes if one.alive()]
    newest = max((one.start_time for one in traces.processes), default=0)
    for pid in all_pids():
        with suppress(ProcessLookupError):
            process = Process.of(pid)
            if process.start_time <= newest and process not in traces.processes:
                shared = namespaces_of(pid, KINDS) & traces.namespaces
                alive += [(process, _words(pid), shared)] if shared else []
    return alive


def _sleep_until(instant_s: float) -> None:
    time.sleep(max(0.0, instant_s - time.monotonic()))


def _results(out: Path) -> dict[str, Any]:
    """What the run wrote, as far as it came."""
    found: dict[str, Any] = {"summary": None}
    with suppress(FileNotFoundError):
        found["summary"] = json.loads((out / "summary.json").read_text())
        found["connections"] = _lines_of(out / "connections.jsonl")
        reports = [
            line for one in out.glob("hosts/h*.jsonl") for line in _lines_of(one)
        ]
        found["hung"] = sum(one.get("hung", 0) for one in reports)
    with suppress(FileNotFoundError):
        log = _lines_of(out / "events.jsonl")
        found["restarted"] = [
            one["program"] for one in log if one["what"] == "restarted"
        ]
    return found


def _lines_of(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True)
    # The last line may be cut off: its writer was killed.
    return [json.loads(line) for line in lines if line.endswith("\n")]
