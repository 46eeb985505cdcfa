"""Makes the runs of a sweep, some at a time, and writes down how each one ended.

Every run is a process of its own (:mod:`experiments.sweep.worker`) that dies with the
sweep, and its sandbox with it; so a sweep that is killed leaves nothing behind but the
folder of the run it was at, which the next one makes anew.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.sweep.state import (
    FAILED,
    UNTRUSTED,
    Record,
    StateFile,
)
from experiments.sweep.suite import PlannedRun
from experiments.verdict.trust import EXIT_STATUS

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_POLL_S = 0.05
#: From SIGTERM until a run that is to end is killed.
_GRACE_S = 15.0

#: Hears of every run that has ended.
Listener = Callable[[PlannedRun, Record], None]


@dataclass
class _Worker:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    started_s: float
    deadline: float  # of the monotonic clock

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass(frozen=True)
class Layout:
    """Where a sweep keeps what: its folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """The state file."""
        return self.folder / "state.jsonl"

    @property
    def suite(self) -> Path:
        """The suite as it was given."""
        return self.folder / "suite.yaml"

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / name

    def log(self, name: str) -> Path:
        """What a run said while it ran."""
        return self.folder / "logs" / f"{name}.log"


class Runner:
    """Makes runs, at most ``jobs`` at a time, each within ``deadline_s``."""

    def __init__(
        self,
        layout: Layout,
        state: StateFile,
        jobs: int,
        deadline_s: float,
        listener: Listener,
    ) -> None:
        self._layout = layout
        self._state = state
        self._jobs = jobs
        self._deadline_s = deadline_s
        self._listener = listener
        self._workers: list[_Worker] = []

    def make(self, runs: Sequence[PlannedRun]) -> None:
        """Makes all of them, in their order.

        Whatever ends this early (Ctrl-C, SIGTERM as ``SystemExit``) ends the runs at
        work too, in good order; they are not written down.
        """
        waiting = list(reversed(runs))
        try:
            while waiting or self._workers:
                while waiting and len(self._workers) < self._jobs:
                    self._workers.append(self._start(waiting.pop()))
                self._poll()
                time.sleep(_POLL_S)
        finally:
            self._end_all()

    def _start(self, run: PlannedRun) -> _Worker:
        """Starts one; what an earlier sweep left of it, unfinished, is taken away."""
        folder, log = self._layout.run(run.name), self._layout.log(run.name)
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(exist_ok=True)
        log.parent.mkdir(exist_ok=True)
        argv = (sys.executable, "-m", "experiments.sweep.worker", str(folder))
        with log.open("wb") as output:
            process = subprocess.Popen(
                (*_DIE_WITH_PARENT, *argv),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the sweep, which passes it on
            )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(run.spec.model_dump(mode="json")).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended at once; its exit status and log say why
        now = time.monotonic()
        return _Worker(run, process, time.time(), now + self._deadline_s)

    def _poll(self) -> None:
        """Writes down the runs that have ended; ends those that take too long."""
        for worker in list(self._workers):
            status = worker.process.poll()
            if status is not None:
                self._finish(worker, status, None)
            elif worker.late:
                _end([worker])
                reason = f"not done within {self._deadline_s:g} s"
                self._finish(worker, None, reason)

    def _finish(self, worker: _Worker, status: int | None, reason: str | None) -> None:
        name = worker.run.name
        if reason is None:
            outcome, reason = outcome_of(
                status, self._layout.run(name), self._layout.log(name)
            )
        else:
            outcome = FAILED
        record = Record(
            run=name,
            outcome=outcome,
            exit_status=status,
            reason=reason,
            started_s=round(worker.started_s, 3),
            ended_s=round(time.time(), 3),
            jobs=self._jobs,
        )
        self._state.record(record)
        self._workers.remove(worker)
        self._listener(worker.run, record)

    def _end_all(self) -> None:
        _end(self._workers)
        self._workers.clear()


def outcome_of(status: int | None, folder: Path, log: Path) -> tuple[str, str | None]:
    """Outcome and reason of a run that ended with ``status``.

    It has failed without a whole summary, and also where its exit status is not that of
    the outcome in the summary: whatever it died of came after that.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text())
        outcome, why = summary["outcome"], reason_of(summary)
    except (OSError, ValueError, KeyError, TypeError):
        return FAILED, _last_log_line(log) or f"exit status {status}, without a word"
    if status is None or status != EXIT_STATUS.get(outcome):
        return FAILED, f"exit status {status}: {_last_log_line(log)}"
    return outcome, why


def reason_of(summary: Mapping[str, Any]) -> str | None:
    """Why a run came to what its summary says: nothing where it is as expected."""
    if summary["outcome"] == UNTRUSTED:
        return "; ".join(summary["measurement"]["reasons"])
    unmet = [each for each in summary["expectations"] if not each["met"]]
    found = (f"{e['key']} is {e['found']}, not {e['condition']}" for e in unmet)
    return "; ".join(found) or None


def _last_log_line(log: Path) -> str:
    """The last line of a log that says something."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _end(workers: Sequence[_Worker]) -> None:
    """Ends runs: asked first, then killed."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
