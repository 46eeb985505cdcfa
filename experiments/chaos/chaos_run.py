"""One run of chaos: a cluster, clients, the actions of a schedule, and the judge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from experiments.chaos.chaos_actions import Action, count_names
from experiments.chaos.chaos_clients import ChaosClients
from experiments.chaos.chaos_facts import Fact, Operation, TimelineWriter
from experiments.chaos.chaos_judge import ChaosJudge, Terms
from experiments.chaos.chaos_summary import (
    ChaosSummary,
    ConnectionFigures,
    DataFigures,
    FoundViolation,
    HalfOpenFigures,
    ProgramFigures,
)
from experiments.chaos.chaos_watch import PERIOD_S, ChaosWatch
from experiments.chaos.mixed_workload import MIXED
from experiments.chaos.perform import Performer
from experiments.chaos.violation import Violation
from experiments.cluster.live_cluster import Cluster, ClusterOptions, Progress
from experiments.verdict.trust import AS_EXPECTED, UNEXPECTED, UNTRUSTED
from topologies.domain.plan import Plan

#: Clients must have begun to work within that time, in seconds.
WORKING_S = 30.0
REPORT_PERIOD_S = 10.0
#: Looks that were late for more than that share of the time saw too little.
MOST_LATE = 0.25


class ChaosError(RuntimeError):
    """Chaos could not begin. The text says why."""


@dataclass
class Seen:
    """What was seen so far; takes facts of several threads."""

    judge: ChaosJudge
    timeline: TimelineWriter
    violations: list[Violation] = field(default_factory=list)
    violated: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def feed(self, fact: Fact) -> None:
        """Keeps a fact and judges it."""
        with self._lock:
            if not isinstance(fact, Operation):  # the clients' own files have these
                self.timeline.write(fact)
            found = self.judge.feed(fact)
            self.violations += found
        if found:
            self.violated.set()


@dataclass
class Tally:
    """The actions that were done, and those that were not possible."""

    done: list[Action] = field(default_factory=list)
    skipped: list[Action] = field(default_factory=list)


def run_chaos(
    actions: Sequence[Action],
    plan: Plan,
    options: ClusterOptions,
    seed: int | None,
    places: tuple[Path, Path],
    progress: Progress,
) -> ChaosSummary:
    """Runs them, until the last one or a violation; returns what was found.

    ``seed``: of the schedule, None if it is from a file. ``places``: the folder for logs
    and the timeline, and the directory for sockets. Raises :class:`ChaosError` and the
    errors of a cluster; nothing keeps running then, and nothing stays stopped.
    """
    folder, runtime = places
    cluster = Cluster(plan, options, folder, runtime, MIXED)
    judge = ChaosJudge(_terms(cluster))
    try:
        cluster.start(progress)
        with (folder / "timeline.jsonl").open("w", encoding="utf-8") as file:
            return _drive(cluster, judge, file, actions, seed, progress)
    finally:
        cluster.stop()


def _terms(cluster: Cluster) -> Terms:
    state = cluster.initial
    bound_s = cluster.options.heal_within_s if state.healing else None
    return Terms(state.arrangement, state.balancer, bound_s)


def _drive(
    cluster: Cluster,
    judge: ChaosJudge,
    file: TextIO,
    actions: Sequence[Action],
    seed: int | None,
    progress: Progress,
) -> ChaosSummary:
    seen, tally = Seen(judge, TimelineWriter(file)), Tally()
    clients = ChaosClients(cluster, seed or 0)
    watch = ChaosWatch(cluster, clients, seen.feed)
    performer = Performer(cluster, clients, seen.feed)
    watch.start()
    try:
        clients.start_all()
        _await_work(judge, seen)
        progress(f"{len(actions)} actions begin")
        start_s = time.time()
        _perform(actions, performer.do, seen, tally, progress)
        performer.close()
        _look_on(cluster, seen)
    finally:
        performer.close()
        clients.stop_all()
        counts = watch.stop()
    return summarise(cluster.describe(), seen, tally, (seed, start_s), counts)


def _await_work(judge: ChaosJudge, seen: Seen) -> None:
    """Waits until clients write. Raises :class:`ChaosError`."""
    deadline = time.monotonic() + WORKING_S
    while judge.registers.acknowledged < 2 * len(judge.terms.arrangement.plan.clients):
        if time.monotonic() > deadline or seen.violated.wait(PERIOD_S):
            texts = [one.text for one in seen.violations]
            raise ChaosError("\n".join(["clients do not work", *texts]))


def _perform(
    actions: Sequence[Action],
    do: Callable[[Action], bool],
    seen: Seen,
    tally: Tally,
    progress: Progress,
) -> None:
    """Each action at its time, or as soon as the one before it is done."""
    start_s = next_report_s = time.monotonic()
    for action in actions:
        while (left_s := start_s + action.at_s - time.monotonic()) > 0:
            if time.monotonic() >= next_report_s:
                next_report_s += REPORT_PERIOD_S
                progress(_line(time.monotonic() - start_s, tally, seen.judge))
            if seen.violated.wait(min(left_s, 1.0)):
                return
        if seen.violated.is_set():
            return
        (tally.done if do(action) else tally.skipped).append(action)


def _look_on(cluster: Cluster, seen: Seen) -> None:
    """After the last action: until what it left must be gone."""
    calm_s = cluster.options.heal_within_s + 2 * seen.judge.terms.slack_s
    seen.violated.wait(calm_s)


def _line(elapsed_s: float, tally: Tally, judge: ChaosJudge) -> str:
    resets, half_open = judge.resets, judge.half_open
    return (
        f"{elapsed_s:5.0f} s: {sum(count_names(tally.done).values())} events, "
        f"{resets.opened} connections, {resets.moved} moved, {resets.resets} reset, "
        f"{half_open.seen} half open, at worst {half_open.worst_s:.2f} s, "
        f"{judge.registers.acknowledged} writes"
    )


def summarise(
    cluster: Mapping[str, Any],
    seen: Seen,
    tally: Tally,
    origin: tuple[int | None, float],
    counts: Mapping[str, int],
) -> ChaosSummary:
    """The summary of what was seen and done on that cluster.

    ``origin``: the schedule's seed, and when its time began. ``counts``: the probes'.
    """
    seed, start_s = origin
    duration_s = time.time() - start_s
    reasons = _reasons(seen.judge, counts, duration_s)
    outcome = UNTRUSTED if reasons else AS_EXPECTED
    return ChaosSummary(
        outcome=UNEXPECTED if seen.violations else outcome,  # type: ignore[arg-type]
        reasons=reasons,
        seed=seed,
        duration_s=round(duration_s, 3),
        cluster=dict(cluster),
        done=count_names(tally.done),
        skipped=count_names(tally.skipped),
        violations=[
            FoundViolation(
                invariant=one.invariant, at_s=round(one.t - start_s, 3), text=one.text
            )
            for one in seen.violations
        ],
        looks=seen.judge.looks,
        late_s=round(seen.judge.late_s, 3),
        actions=[one.to_json() for one in (*tally.done, *tally.skipped)],
        **_figures(seen.judge),
    )


def _reasons(
    judge: ChaosJudge, counts: Mapping[str, int], duration_s: float
) -> list[str]:
    """Why what was seen cannot be trusted."""
    found = []
    if counts["lost"]:
        found.append(f"{counts['lost']} socket events were lost")
    if counts["clock_step_ns"]:
        found.append(f"the clock was set by {counts['clock_step_ns']} ns")
    if judge.late_s > MOST_LATE * duration_s:
        found.append(f"looks were late by {judge.late_s:.1f} s together")
    return found


def _figures(judge: ChaosJudge) -> dict[str, Any]:
    half_open, resets, registers = judge.half_open, judge.resets, judge.registers
    programs = judge.programs
    return {
        "half_open": HalfOpenFigures(
            seen=half_open.seen,
            unasked=half_open.unasked,
            worst_s=round(half_open.worst_s, 3),
            worst=half_open.worst,
            bound_s=judge.terms.bound_s,
            slack_s=judge.terms.slack_s,
        ),
        "connections": ConnectionFigures(
            ended=resets.opened,
            moved=resets.moved,
            reset=resets.resets,
            excused=resets.excused,
        ),
        "data": DataFigures(
            acknowledged_writes=registers.acknowledged,
            reads=registers.reads,
            open_writes=registers.unacknowledged,
            late_writes=registers.late,
        ),
        "programs": ProgramFigures(
            longest_missing_s=round(programs.longest_missing_s, 3),
            memory_kib={
                name: (programs.first_kib[name], most)
                for name, most in sorted(programs.most_kib.items())
            },
        ),
    }
