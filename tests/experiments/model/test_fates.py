"""What becomes of moved connections: beside an oracle that follows each by itself."""

from __future__ import annotations

import os
from math import ceil, inf
from signal import SIGKILL

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.policies import POLICIES
from experiments.model import engine, population
from experiments.model.durations import exponential
from experiments.model.earlier_owners import members_back
from experiments.model.engine import (
    DUE_S,
    Computation,
    ComputationEnded,
    compute,
    hanging_of,
    moved_of,
    settle,
)
from experiments.model.fates import Fates, fates_of
from experiments.model.moved import Moved
from experiments.model.routes import Routes
from experiments.model.tally import Clock, Tally
from experiments.model.tuple_hash import Addresses, Hashes
from tests.experiments.model.courses import (
    CLIENTS,
    HORIZON_S,
    PORT,
    SmallCourse,
    small_course,
)
from topologies.domain.buckets import BucketTable
from topologies.domain.history import KEPT_TABLES, MAX_HISTORY, by_bucket
from topologies.domain.membership import NodeState

seeds = st.integers(0, 10**6)
balancers = st.sampled_from(list(BALANCERS))


def followed(
    course: SmallCourse, place: int, owners: list[list[str | None]]
) -> tuple[float, int]:
    """The oracle: when the first stray of one connection comes, and in which era."""
    flows, times = course.flows, [*course.times, inf]
    birth, death = float(flows.birth[place]), float(flows.death[place])
    interval, phase = float(flows.interval[place]), float(flows.phase[place])
    born = sum(at <= birth for at in course.times)
    owner, away, lost = owners[born][place], None, False
    for era in range(born + 1, len(owners)):
        begin, end = times[era - 1], min(times[era], HORIZON_S)
        if begin >= min(death, HORIZON_S):
            break
        lost = lost or not powered(course, owner, era)
        if owners[era][place] == owner and not lost:
            away = None
            continue
        away = begin if away is None else away
        due = max((ceil(away / interval - phase) + phase) * interval, away)
        if min(due, max(death, away)) < end:
            return min(due, max(death, away)), era
    return inf, 0


def powered(course: SmallCourse, owner: str | None, era: int) -> bool:
    state = course.states[era]
    node = state.plan.find_node(str(owner))
    up = state.membership.state(node) is not NodeState.FAILED
    return up and f"c{node.chassis}" not in state.membership.failed_chassis


def fates(course: SmallCourse, policy: str) -> tuple[Routes, Moved, Fates]:
    routes = course.routes()
    computation = course.computation(policy)
    _, _, moved = moved_of(computation, routes, course.flows)
    return routes, moved, fates_of(moved, computation.conduct)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, balancer=balancers)
def test_strays_come_when_each_connection_by_itself_sends_one(
    seed: int, balancer: str
) -> None:
    course = small_course(seed, balancer)
    routes, moved, found = fates(course, "client-only")
    owners = course.owners()
    expected = {
        place: followed(course, place, owners) for place in range(len(course.flows))
    }
    strays = dict(zip(moved.index.tolist(), found.stray.tolist(), strict=True))
    for place, (at, _) in expected.items():
        assert strays.get(place, inf) == pytest.approx(at)
    for row, place in enumerate(moved.index.tolist()):
        at, era = expected[place]
        owner = routes.nodes[moved.owner[row]]
        holds = at < inf and all(
            powered(course, owner, each)
            for each in range(
                int(routes.era_of(course.flows.birth[[place]])[0]), era + 1
            )
        )
        assert np.isfinite(found.held_from[row]) == holds


@settings(max_examples=25, deadline=None)
@given(seed=seeds, balancer=balancers)
def test_tables_looked_up_back_are_those_that_switches_keep(
    seed: int, balancer: str
) -> None:
    """The members that ``directed`` finds, beside the tables that it installs."""
    course = small_course(seed, balancer, events=6)
    routes, last = course.routes(), len(course.states) - 1
    hashes = Hashes(
        Addresses(CLIENTS, course.ip, PORT), course.flows.clients, course.flows.ports
    )
    every = np.arange(len(course.flows))
    for number, chassis in enumerate(course.states[-1].plan.chassis):
        kept = _kept(course, chassis.name)
        if not kept[0]:
            continue
        switch = np.full(len(every), number + 1)
        found = members_back(routes, hashes, every, switch, np.full(len(every), last))
        for place in every:
            names = {routes.nodes[m] for m in found[place] if m >= 0}
            expected = {
                table.members[int(hashes.of(table.basis)[place]) % len(table)]
                for table in by_bucket(kept, MAX_HISTORY)
                if table
            }
            assert names == expected


def _kept(course: SmallCourse, switch: str) -> tuple[BucketTable, ...]:
    tables: list[BucketTable] = []
    for state in reversed(course.states):
        table = state.table(switch, BALANCERS[course.balancer])
        if not tables or table != tables[-1]:
            tables.append(table)
    return tuple(tables[: KEPT_TABLES + 1])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, balancer=balancers, policy=st.sampled_from(list(POLICIES)))
def test_no_connection_is_lost_count_of(seed: int, balancer: str, policy: str) -> None:
    """Each that was opened was closed, was reset, or is open at the end."""
    course = small_course(seed, balancer)
    routes, computation = course.routes(), course.computation(policy)
    tally = Tally(Clock(HORIZON_S, len(routes.nodes)), routes.eras)
    waiting = [course.flows.take(course.flows.birth < HORIZON_S)]
    while waiting:
        waiting += settle(computation, routes, tally, waiting.pop())
    numbers = tally.numbers
    open_ = int(tally.course("live")[-1])
    assert numbers["opened"] == numbers["closed"] + numbers["reset"] + open_
    assert tally.events_of("moved").sum() == numbers["moved"]
    assert tally.course("half_open")[-1] == numbers["half_open_left"]
    assert (tally.loads_of("live").sum(axis=1) >= 0).all()
    broken = numbers["reset"] + numbers["hung"] - numbers["hung_returned"]
    broken += numbers["hanging_closed"]
    assert broken == tally.events_of("broken").sum()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, balancer=balancers)
def test_whom_others_reset_hangs_if_nobody_says_so(seed: int, balancer: str) -> None:
    """Until its owner is back, or it closes, which may be soon: no harm is left out."""
    course = small_course(seed, balancer)
    _, moved, told = fates(course, "client-only")
    _, _, silent = fates(course, "drop")
    hanging, until = hanging_of(moved, silent, HORIZON_S)
    assert (told.stray == silent.stray).all()
    spoke = told.stray < HORIZON_S
    soon = silent.stray + DUE_S
    closes = moved.flows.death[moved.index] <= soon
    assert (hanging == (spoke & ~closes & (silent.home_at > soon))).all()
    assert (until[hanging] > soon[hanging]).all()
    assert (np.isfinite(silent.home_at) == silent.home).all()


def test_a_pinned_connection_breaks_only_with_its_owner() -> None:
    found = [fates(small_course(seed, "modulo"), "stateful") for seed in range(40)]
    for routes, moved, fate in found:
        struck = np.isfinite(fate.stray)
        reached = routes.reached(moved.owner[struck], fate.stray_era[struck])
        assert not (reached & (moved.loss[struck] > fate.stray_era[struck])).any()
    assert any(np.isfinite(fate.stray).any() for *_, fate in found)


@pytest.mark.parametrize("balancer", ["rendezvous", "anchor"])
def test_just_enough_pins_break_what_leaves_and_nothing_else(balancer: str) -> None:
    """Who joins breaks nothing; and of who leaves, what others break too."""
    joins = leaves = 0
    for seed in range(40):
        course = small_course(seed, balancer)
        routes, moved, fate = fates(course, "jet")
        _, _, plain = fates(course, "client-only")
        for era in np.unique(moved.era).tolist():
            now = moved.era == era
            stays = routes.serving(era)[moved.owner[now]]
            joins += int(stays.sum())
            leaves += int((~stays).sum())
            assert (fate.stray[now][~stays] == plain.stray[now][~stays]).all()
            struck = np.isfinite(fate.stray[now]) & stays
            reached = routes.reached(moved.owner[now], fate.stray_era[now])
            kept = moved.loss[now] > fate.stray_era[now]
            assert not (struck & reached & kept).any()
    assert joins > 0
    assert leaves > 0


def test_the_policies_differ_as_they_promise() -> None:
    course = small_course(5, "rendezvous")
    held = {}
    for policy in ("client-only", "flood", "drop"):
        _, _, found = fates(course, policy)
        some = np.isfinite(found.held_from)
        held[policy] = found.held_to[some] - found.held_from[some]
    assert len(held["flood"]) == len(held["client-only"]) > 0
    assert held["flood"].min() < 0.01 < held["client-only"].min()


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_course(3, "maglev").computation("flood")
    monkeypatch.setattr(population, "BATCH", 1 << 10)
    many = population.Arrivals(9_000, exponential(4.0), HORIZON_S)
    one, two = (
        compute(Computation(base.changes, many, base.conduct, HORIZON_S, threads))
        for threads in (1, 2)
    )
    assert many.batches > 10
    assert one.numbers == two.numbers
    assert one.numbers["moved"] > 0
    for name, course in one.courses.items():
        assert (course == two.courses[name]).all()


def test_a_process_that_is_killed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_course(3, "maglev").computation("flood")
    monkeypatch.setattr(population, "BATCH", 1 << 10)
    many = population.Arrivals(9_000, exponential(4.0), HORIZON_S)
    monkeypatch.setattr(engine, "settle", lambda *_: os.kill(os.getpid(), SIGKILL))
    with pytest.raises(ComputationEnded, match="enough memory"):
        compute(Computation(base.changes, many, base.conduct, HORIZON_S, 2))
