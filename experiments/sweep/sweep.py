"""Executes a sweep: the remaining runs, then the tables."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from experiments.doctor.link_requirements import require
from experiments.files.handover import chown_to_caller, make_folders
from experiments.files.whole_file import write_whole
from experiments.machine.provenance import provenance
from experiments.results.run_folder import RunFolder
from experiments.spec.spec_file import SpecError
from experiments.sweep.many_machines import ManyMachines, SweepAtWork, run_on_machines
from experiments.sweep.progress import Progress, duration, estimate
from experiments.sweep.runner import Layout, Runner
from experiments.sweep.state import (
    COMPARED,
    FAILED,
    MET,
    UNTRUSTED,
    Record,
    StateFile,
    read_records,
)
from experiments.sweep.suite import PlannedRun
from experiments.sweep.suite_file import expand, load_suite
from experiments.sweep.tables import CompletedRun, write_tables
from experiments.verdict.trust import AS_EXPECTED, EXIT_STATUS, UNEXPECTED, worst
from topologies.datapaths import find_datapath

#: Outcomes of runs that ``--retry-failed`` repeats.
_RETRIED = frozenset((FAILED, UNTRUSTED))


def run_sweep(
    path: Path,
    out: Path | None,
    jobs: int,
    retry_failed: bool,
    machines: ManyMachines | None = None,
) -> tuple[int, Path]:
    """Executes the remaining runs of the suite: (exit status, the sweep's folder).

    They run on this machine, ``jobs`` at a time, or on the ``machines`` of a scheduler.

    0: every run is as expected; 1: some are not; 4: some measurements cannot be trusted,
    and all other runs are as expected. Raises
    :class:`~experiments.spec.spec_file.SpecError`, :class:`~experiments.sweep.state.SweepLocked`
    and, before any run, :class:`~experiments.machine.requirements.RequirementMissing`.
    With ``machines``, also :class:`~experiments.fleet.fleet_errors.FleetError`.
    """
    suite = load_suite(path)
    runs = expand(suite, path)
    for run in () if machines else runs:
        require(*run.spec.all_links())
        find_datapath(run.spec.cluster.datapath)
    layout = Layout((out or Path("results") / suite.name).resolve())
    _prepare_folder(layout)
    state = StateFile(layout.state)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _save_suite(layout, path)
        state.append(
            "start",
            suite=suite.name,
            command=sys.argv,
            jobs=jobs,
            scheduler=str(machines.address) if machines else None,
            provenance=provenance(),
        )
        remaining, records = _remaining(runs, layout, retry_failed)
        sweep = SweepAtWork(suite, runs, remaining, records, layout, state)
        progress = Progress(runs, remaining, records, jobs)
        if machines is None:
            _run_here(sweep, jobs, progress)
        else:
            run_on_machines(sweep, machines, progress)
    finally:
        made = completed_runs(runs, layout)
        if made:
            write_tables(layout.folder, made)
        state.close()
        chown_to_caller(layout.folder)
    return EXIT_STATUS[worst([_run_outcome(one.record) for one in made])], layout.folder


def print_plan(path: Path, out: Path | None) -> None:
    """Prints the runs of a suite in their order, and the outcomes of those done."""
    suite = load_suite(path)
    runs = expand(suite, path)
    layout = Layout(out or Path("results") / suite.name)
    records = read_records(layout.state)
    width = max(len(run.title()) for run in runs)
    for run in runs:
        record = records.get(run.name)
        done = f"  {record.outcome}" if record else ""
        click.echo(f"{run.title():{width}}  seed {run.spec.seed:<10}{done}")
    remaining = [run for run in runs if run.name not in records]
    click.echo(
        f"{len(runs)} runs of {suite.name}, {len(remaining)} to do, "
        f"about {duration(estimate(remaining, {}))} one at a time; folder {layout.folder}"
    )


def _run_outcome(record: Record) -> str:
    """The outcome of a record as that of a run. A failed run is not as expected."""
    if record.outcome == FAILED:
        return UNEXPECTED
    return AS_EXPECTED if record.outcome == MET else record.outcome


def completed_runs(runs: Sequence[PlannedRun], layout: Layout) -> list[CompletedRun]:
    """The runs of a suite that have ended, in the order of its factors.

    Only runs whose figures are compared have a folder. If such a folder cannot be read,
    the run has failed.
    """
    records = read_records(layout.state)
    order = {run.name: at for at, run in enumerate(_in_factors_order(runs))}
    done = [run for run in runs if run.name in records]
    ordered = sorted(done, key=lambda run: order[run.name])
    return [_completed(run, records[run.name], layout) for run in ordered]


def _completed(run: PlannedRun, record: Record, layout: Layout) -> CompletedRun:
    if record.outcome not in COMPARED:
        return CompletedRun(run, record, None)
    try:
        return CompletedRun(run, record, RunFolder.read(layout.run(run.name)))
    except (OSError, ValueError) as error:
        reason = f"its folder cannot be read: {error}"
        return CompletedRun(run, replace(record, outcome=FAILED, reason=reason), None)


def _in_factors_order(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs in the order of the suite's levels, then by repetition."""
    return sorted(runs, key=lambda run: (run.position, run.repetition))


def _prepare_folder(layout: Layout) -> None:
    """Creates the sweep's folder. Refuses a folder with other content."""
    if (
        layout.folder.is_dir()
        and any(layout.folder.iterdir())
        and not layout.state.exists()
    ):
        raise SpecError(
            f"--out {layout.folder}: exists and is not the folder of a sweep"
        )
    make_folders(layout.folder)
    chown_to_caller(layout.folder)  # now, since the sweep may be killed


def _save_suite(layout: Layout, path: Path) -> None:
    """Copies the suite for the report. The caller holds the lock of the state file."""
    if not (layout.suite.exists() and layout.suite.samefile(path)):
        write_whole(layout.suite, path.read_text(encoding="utf-8"))


def _run_here(sweep: SweepAtWork, jobs: int, progress: Progress) -> None:
    """Executes the remaining runs on this machine."""
    deadline_s, listener = sweep.suite.deadline_s, progress.on_run_finished
    runner = Runner(sweep.layout, sweep.state, jobs, deadline_s, listener)
    runner.execute(sweep.remaining)


def _remaining(
    runs: Sequence[PlannedRun], layout: Layout, retry_failed: bool
) -> tuple[list[PlannedRun], dict[str, Record]]:
    """The runs that are to be executed, and the records of all that have ended."""
    records = {one.run.name: one.record for one in completed_runs(runs, layout)}
    written = read_records(layout.state)
    retried = {n for n, r in records.items() if r.outcome in _RETRIED and retry_failed}
    retried |= {n for n, r in records.items() if r.outcome != written[n].outcome}
    remaining = [run for run in runs if run.name not in records or run.name in retried]
    done = len(runs) - len(remaining)
    if done:
        click.echo(f"{done} of {len(runs)} runs are done already", err=True)
    return remaining, records
