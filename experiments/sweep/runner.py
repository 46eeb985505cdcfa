"""Executes the runs of a sweep, some in parallel, and records their outcomes.

Every run is its own process (:mod:`experiments.sweep.worker`), which dies with the sweep,
and its sandbox too. So a killed sweep leaves only the folder of its current run. The next
sweep repeats that run.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.fleet.task_process import TaskProcess, end
from experiments.sweep.state import (
    FAILED,
    UNTRUSTED,
    Record,
    StateFile,
)
from experiments.sweep.suite import PlannedRun
from experiments.verdict.trust import EXIT_STATUS

#: The program of a run.
PROGRAM = "experiments.sweep.worker"
_POLL_S = 0.05

#: Called for every run that has ended.
Listener = Callable[[PlannedRun, Record], None]


@dataclass(frozen=True)
class _Worker:
    run: PlannedRun
    process: TaskProcess


@dataclass(frozen=True)
class Layout:
    """The paths in a sweep's folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """The state file."""
        return self.folder / "state.jsonl"

    @property
    def suite(self) -> Path:
        """The copy of the suite."""
        return self.folder / "suite.yaml"

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / name

    def log(self, name: str) -> Path:
        """The log of a run."""
        return self.folder / "logs" / f"{name}.log"


class Runner:
    """Executes runs, at most ``jobs`` at a time, each within ``deadline_s``."""

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

    def execute(self, runs: Sequence[PlannedRun]) -> None:
        """Executes all runs, in their order.

        If this ends early (Ctrl-C, SIGTERM as ``SystemExit``), the current runs are
        stopped with SIGTERM and not recorded.
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
        """Starts a run. Removes the unfinished folder of an earlier sweep first."""
        folder, log = self._layout.run(run.name), self._layout.log(run.name)
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(exist_ok=True)
        log.parent.mkdir(exist_ok=True)
        value = run.spec.model_dump(mode="json")
        process = TaskProcess(PROGRAM, value, folder, log, self._deadline_s)
        return _Worker(run, process)

    def _poll(self) -> None:
        """Records the runs that have ended; stops those past their deadline."""
        for worker in list(self._workers):
            status = worker.process.status
            if status is not None:
                self._finish(worker, status, None)
            elif worker.process.is_overdue:
                end([worker.process])
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
            started_s=round(worker.process.started_s, 3),
            ended_s=round(time.time(), 3),
            jobs=self._jobs,
            machine=platform.node(),
        )
        self._state.record(record)
        self._workers.remove(worker)
        self._listener(worker.run, record)

    def _end_all(self) -> None:
        end(worker.process for worker in self._workers)
        self._workers.clear()


def outcome_of(status: int | None, folder: Path, log: Path) -> tuple[str, str | None]:
    """Outcome and reason of a run that ended with ``status``.

    A run has failed if its summary is missing or incomplete. It has also failed if its
    exit status does not belong to the outcome in the summary: it died after writing it.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text())
        outcome, reason = summary["outcome"], reason_of(summary)
    except (OSError, ValueError, KeyError, TypeError):
        return FAILED, _last_log_line(log) or f"exit status {status}, no output"
    if status is None or status != EXIT_STATUS.get(outcome):
        return FAILED, f"exit status {status}: {_last_log_line(log)}"
    return outcome, reason


def reason_of(summary: Mapping[str, Any]) -> str | None:
    """The reason for the outcome in a summary; None if it is as expected."""
    if summary["outcome"] == UNTRUSTED:
        return "; ".join(summary["measurement"]["reasons"])
    unmet = [e for e in summary["expectations"] if not e["met"]]
    texts = (f"{e['key']} is {e['found']}, not {e['condition']}" for e in unmet)
    return "; ".join(texts) or None


def _last_log_line(log: Path) -> str:
    """The last line of a log that is not blank."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
