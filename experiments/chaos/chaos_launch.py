"""Runs chaos in sandboxes: once, and again to find the shortest sequence that violates."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments.chaos.chaos_actions import Action, Schedule, write_schedule
from experiments.chaos.chaos_job import FOUND
from experiments.chaos.chaos_schedule import ChaosSize, draw_schedule
from experiments.chaos.chaos_summary import ChaosSummary
from experiments.chaos.chaos_table import print_chaos
from experiments.chaos.shrinking import Limit, shrink, until, without_pauses
from experiments.cluster.live_cluster import HEAL_WITHIN_S
from experiments.files.handover import chown_to_caller
from experiments.files.whole_file import write_whole
from experiments.machine.requirements import RequirementMissing
from experiments.verdict.trust import EXIT_STATUS
from nodes.guard.guards import GuardError, choose_guard
from topologies import sandbox
from topologies.datapaths import find_datapath
from topologies.domain.plan import Plan

#: The result, in the folder of a run.
SUMMARY = "chaos.json"
SCHEDULE = "schedule.json"


@dataclass(frozen=True)
class ChaosOrder:
    """What the command line asks for. ``options``: of the cluster, by name."""

    plan: Plan
    options: Mapping[str, Any]
    seed: int
    events: int
    for_s: float
    shrink: Limit
    folder: Path


def launch_chaos(order: ChaosOrder, replayed: Schedule | None) -> int:
    """Draws a schedule, unless one is replayed, and runs it; returns the exit status.

    Raises :class:`~experiments.machine.requirements.RequirementMissing`, or
    :class:`~topologies.datapaths.DatapathMissing`, before anything is built.
    """
    find_datapath(order.options["datapath"])
    actions = _drawn(order) if replayed is None else tuple(replayed)
    seed = order.seed if replayed is None else None
    runs = _Runs(order, seed)
    status, summary = runs.run(actions)
    if summary is None:
        chown_to_caller(order.folder)
        return status or 1
    if summary.violations:
        _show_violation(summary, actions)
        summary = _with_shortest(order, runs, actions, summary)
    text = summary.model_dump_json(indent=1) + "\n"
    write_whole(order.folder / SUMMARY, text)
    chown_to_caller(order.folder)
    print_chaos(summary)
    click.echo(f"results: {order.folder}")
    return EXIT_STATUS[summary.outcome]


def guards_are_processes(name: str) -> bool:
    """Whether the guard of that name, on this machine, is a process for each node.

    Raises :class:`~experiments.machine.requirements.RequirementMissing`.
    """
    try:
        return choose_guard(name).kind.name == "scapy"
    except GuardError as error:
        raise RequirementMissing(str(error)) from error


def _drawn(order: ChaosOrder) -> tuple[Action, ...]:
    guards = guards_are_processes(order.options["guard"])
    return draw_schedule(
        order.seed, ChaosSize(order.plan, order.events, order.for_s, guards)
    )


def _show_violation(summary: ChaosSummary, actions: Schedule) -> None:
    first = summary.violations[0]
    click.echo(f"seed {summary.seed}: {first.invariant} at {first.at_s:.3f} s")
    click.echo(f"  {first.text}")
    for action in until(actions, first.at_s)[-40:]:
        click.echo(f"  {action.text}")


def _with_shortest(
    order: ChaosOrder, runs: _Runs, actions: Schedule, summary: ChaosSummary
) -> ChaosSummary:
    """The summary with the shortest sequence found, if any violates again."""
    first = summary.violations[0]
    begun = until(actions, first.at_s)
    if not order.shrink.take():
        return summary
    click.echo(f"try 1: {len(begun)} actions", err=True)
    if not runs.violates(begun, first.invariant):
        click.echo("it did not happen again; the schedule is in the results")
        return summary.model_copy(update={"tries": order.shrink.used})

    def violates(some: Sequence[Action]) -> bool:
        click.echo(f"try {order.shrink.used}: {len(some)} actions", err=True)
        bound_s = order.options.get("heal_within_s", HEAL_WITHIN_S)
        return runs.violates(without_pauses(some, bound_s), first.invariant)

    shortest = shrink(begun, violates, order.shrink)
    click.echo(f"the shortest sequence found, {len(shortest)} actions:")
    for action in shortest:
        click.echo(f"  {action.text}")
    found = [one.to_json() for one in shortest]
    return summary.model_copy(update={"shortest": found, "tries": order.shrink.used})


class _Runs:
    """Runs of one order, each in a sandbox and a folder of its own."""

    def __init__(self, order: ChaosOrder, seed: int | None) -> None:
        self._order = order
        self._seed = seed
        self._numbers = itertools.count(1)

    def run(self, actions: Schedule) -> tuple[int, ChaosSummary | None]:
        """Exit status, and what was found; None if it did not get to its end."""
        folder = self._order.folder / f"run-{next(self._numbers)}"
        folder.mkdir()
        write_schedule(folder / SCHEDULE, actions, seed=self._seed)
        job = {
            "schedule": str(folder / SCHEDULE),
            "seed": self._seed,
            "plan": self._order.plan.to_json(),
            "options": dict(self._order.options),
            "folder": str(folder),
        }
        argv = [sys.executable, "-m", "experiments.chaos.chaos_job", json.dumps(job)]
        status = sandbox.enter(argv, f"chaos-{os.getpid()}", detach=False)
        found = folder / FOUND
        if not found.exists():
            return status, None
        return status, ChaosSummary.model_validate_json(found.read_text())

    def violates(self, actions: Schedule, invariant: str) -> bool:
        """Whether these actions violate that invariant."""
        _, summary = self.run(actions)
        found = summary.violations if summary else ()
        return any(one.invariant == invariant for one in found)
