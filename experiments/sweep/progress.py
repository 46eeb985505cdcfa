"""What the terminal says while a sweep runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from experiments.sweep.state import FAILED, MET, UNTRUSTED, Record
from experiments.sweep.suite import PlannedRun

#: Estimate, until a run has been measured, of the seconds that a run takes beyond its
#: steady time, events and observation.
_OVERHEAD_S = 6.0

_OUTCOME_TEXTS = {MET: "as expected", FAILED: "FAILED", UNTRUSTED: "cannot be trusted"}


class Progress:
    """Prints the outcome of each run, the number of remaining runs, and their time."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        remaining: Sequence[PlannedRun],
        records: dict[str, Record],
        jobs: int,
    ) -> None:
        self._runs = {run.name: run for run in runs}
        self._remaining = {run.name for run in remaining}
        self._records = records
        #: The number of runs at a time, for the time that is left.
        self.jobs = jobs

    def on_run_finished(
        self, run: PlannedRun, record: Record, running: int | None = None
    ) -> None:
        """Prints the outcome of a run. ``running``: how many run now, on many machines."""
        self._remaining.discard(run.name)
        self._records[run.name] = record
        total, left = len(self._runs), len(self._remaining)
        word = _OUTCOME_TEXTS.get(record.outcome, "not as expected")
        reason = f" ({record.reason})" if record.reason else ""
        where = (
            "" if running is None else f" on {record.machine}{self._counts(running)}"
        )
        click.echo(
            f"[{total - left:{len(str(total))}}/{total}] {run.title()}: "
            f"{word}{reason}, {record.took_s:.1f} s{where}{self._time_left()}",
            err=True,
        )

    def undo(self, names: Sequence[str]) -> None:
        """These runs are done again."""
        self._remaining.update(names)

    def _counts(self, running: int) -> str:
        ended = (r for n, r in self._records.items() if n not in self._remaining)
        failed = sum(record.outcome == FAILED for record in ended)
        return f"; {failed} failed, {running} running"

    def _time_left(self) -> str:
        if not self._remaining:
            return ""
        remaining = [self._runs[name] for name in self._remaining]
        seconds = estimate(remaining, self._records) / max(self.jobs, 1)
        clock = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        return f"; {duration(seconds)} left, until {clock}"


def estimate(runs: Sequence[PlannedRun], records: dict[str, Record]) -> float:
    """Seconds for these runs, one at a time: the times in their specs and the overhead."""
    if not runs:
        return 0.0
    specified = sum(_specified_s(run) for run in runs)
    took = [r.took_s for r in records.values() if r.outcome != FAILED]
    if not took:
        return specified + _OVERHEAD_S * len(runs)
    return max(specified, sum(took) / len(took) * len(runs))


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def _specified_s(run: PlannedRun) -> float:
    last = run.spec.events[-1].at if run.spec.events else 0.0
    return run.spec.steady_s + last + run.spec.observe_s
