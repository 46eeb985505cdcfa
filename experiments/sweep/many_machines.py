"""Executes the runs of a sweep on the machines of a scheduler.

A run is one task. All designs on the same connections are one group, so they stay on one
machine. The state file gets a line for each machine, for each group's home before its first
run there, and for each run that has ended. So a sweep that was killed goes on where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments.files.disk_full import DiskFullError, disk_full_named
from experiments.fleet.addresses import Address
from experiments.fleet.fleet_errors import FleetError
from experiments.fleet.machine_facts import differences
from experiments.fleet.parcel import unpack
from experiments.fleet.placing import Home, Order, Placing
from experiments.fleet.task import Reply, Task
from experiments.fleet.tls_keys import Keys
from experiments.sweep.progress import Progress
from experiments.sweep.runner import PROGRAM, Layout, outcome_of
from experiments.sweep.state import FAILED, Record, StateFile, read_lines
from experiments.sweep.suite import PlannedRun, Suite


@dataclass(frozen=True)
class ManyMachines:
    """A scheduler, and how long a machine that has left keeps the groups it began."""

    address: Address
    keys: Keys
    patience_s: float


@dataclass(frozen=True)
class SweepAtWork:
    """A sweep whose state file is held. ``remaining``: the runs without a valid end."""

    suite: Suite
    runs: Sequence[PlannedRun]
    remaining: Sequence[PlannedRun]
    records: Mapping[str, Record]
    layout: Layout
    state: StateFile


def run_on_machines(
    sweep: SweepAtWork, machines: ManyMachines, progress: Progress
) -> None:
    """Executes all remaining runs. Raises :class:`~experiments.fleet.fleet_errors.FleetError`."""
    from experiments.fleet.dask_fleet import Fleet

    placing = make_placing(sweep, machines.patience_s)
    collector = RunCollector(sweep, placing, progress)
    again = len(placing.remaining) - len(sweep.remaining)
    if again:
        collector.say(f"{again} runs are done again: their group has moved")
    progress.undo([task.name for task in placing.remaining])
    try:
        Fleet(machines.address, machines.keys, placing, collector).run()
    except DiskFullError as error:
        raise FleetError(str(error)) from error
    finally:
        collector.close()


def make_placing(sweep: SweepAtWork, patience_s: float) -> Placing:
    """Where the runs of a sweep are to run, from what its state file says."""
    tasks = [
        Task(
            name=run.name,
            group=run.group(),
            program=PROGRAM,
            value=run.spec.model_dump(mode="json"),
            deadline_s=sweep.suite.deadline_s,
        )
        for run in sweep.runs
    ]
    waiting = {run.name for run in sweep.remaining}
    done = {
        name: record.machine or ""
        for name, record in sweep.records.items()
        if name not in waiting
    }
    homes = read_homes(sweep.layout.state)
    return Placing(tasks, homes, done, patience_s, time.monotonic())


def read_homes(path: Path) -> dict[str, str]:
    """Group -> the machine on which its runs are, by the state file."""
    lines = (line for line in read_lines(path) if line["what"] == "home")
    return {line["group"]: line["machine"] for line in lines}


class RunCollector:
    """Notes what becomes of runs, in the sweep's folder and its state file."""

    def __init__(
        self, sweep: SweepAtWork, placing: Placing, progress: Progress
    ) -> None:
        self._layout = sweep.layout
        self._state = sweep.state
        self._runs = {run.name: run for run in sweep.runs}
        self._placing = placing
        self._progress = progress
        self._facts = _facts_of_machines(sweep.layout.state)
        self.close()  # an earlier command may have been killed

    def close(self) -> None:
        """Removes what has arrived in part."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    @property
    def _incoming(self) -> Path:
        """Where files arrive. Nothing in it counts."""
        return self._layout.folder / ".incoming"

    def on_machine(self, name: str, facts: Mapping[str, Any]) -> None:
        """Notes a machine, and says how it differs from the one noted first."""
        first, of_first = next(iter(self._facts.items()), (name, facts))
        found = differences(of_first, facts)
        note = f"; differs from {first}: {', '.join(found)}" if found else ""
        self.say(f"{name} works here: {facts['datapath']} datapath{note}")
        if self._facts.get(name) != facts:
            self._facts[name] = dict(facts)
            self._state.append("machine", name=name, facts=facts, differs=found)

    def on_home(self, home: Home) -> None:
        """Notes where a group's runs are from now on."""
        self._state.append(
            "home",
            group=home.group,
            machine=home.machine,
            left=home.left,
            again=home.again,
        )
        self._progress.undo(home.again)
        if home.left is not None:
            self.say(
                f"{home.left} has left: {home.group} moves to {home.machine}, with "
                f"{len(home.again)} runs that are done again"
            )

    def on_reply(self, order: Order, reply: Reply) -> None:
        """Stores a run's folder and log, whole, and then its record."""
        name = order.task.name
        folder, log = self._layout.run(name), self._layout.log(name)
        arrived = self._incoming / name
        with disk_full_named(self._layout.folder):
            shutil.rmtree(arrived, ignore_errors=True)
            unpack(reply.archive, reply.digests, arrived)
            shutil.rmtree(folder, ignore_errors=True)
            for each in (folder, log):
                each.parent.mkdir(exist_ok=True)
            log.write_bytes(reply.log)
            arrived.rename(folder)
        if reply.reason:
            outcome, reason = FAILED, reply.reason
        else:
            outcome, found = outcome_of(reply.status, folder, log)
            reason = found or ""
        times = reply.started_s, reply.ended_s
        self._record(order, outcome, reply.status, reason or None, times)

    def on_given_up(self, order: Order, reason: str) -> None:
        """Notes a run that no machine could end."""
        now_s = time.time()
        self._record(order, FAILED, None, reason, (now_s, now_s))

    def say(self, text: str) -> None:
        """Prints one line of progress."""
        click.echo(f"resetbed: {text}", err=True)

    def _record(
        self,
        order: Order,
        outcome: str,
        status: int | None,
        reason: str | None,
        times: tuple[float, float],
    ) -> None:
        record = Record(
            run=order.task.name,
            outcome=outcome,
            exit_status=status,
            reason=reason,
            started_s=round(times[0], 3),
            ended_s=round(times[1], 3),
            jobs=order.machine.places,
            machine=order.machine.name,
        )
        self._state.record(record)
        self._progress.jobs = self._placing.places
        running = sum(other != order for other in self._placing.under_way)
        self._progress.on_run_finished(self._runs[record.run], record, running)


def _facts_of_machines(path: Path) -> dict[str, dict[str, Any]]:
    """Machine -> its facts, as the state file has them."""
    lines = (line for line in read_lines(path) if line["what"] == "machine")
    return {line["name"]: line["facts"] for line in lines}
