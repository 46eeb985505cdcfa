"""Schedules of chaos: the same for a seed, possible, in time, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.chaos.chaos_actions import (
    Action,
    Do,
    ScheduleError,
    count_names,
    read_schedule,
    write_schedule,
)
from experiments.chaos.chaos_schedule import (
    EVENT_WEIGHTS,
    MORE_CHASSIS,
    MORE_NODES,
    ChaosSize,
    draw_schedule,
)
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS
from topologies.domain.events.instant import resolve_events
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

PLAN = Plan.build()
SIZE = ChaosSize(PLAN, events=1000, duration_s=600, guards=True)
seeds = pytest.mark.parametrize("seed", range(5))


@seeds
def test_a_seed_gives_one_schedule(seed: int) -> None:
    assert draw_schedule(seed, SIZE) == draw_schedule(seed, SIZE)
    assert draw_schedule(seed, SIZE) != draw_schedule(seed + 1, SIZE)


@seeds
def test_it_has_as_many_events_as_asked_for(seed: int) -> None:
    assert sum(count_names(draw_schedule(seed, SIZE)).values()) == SIZE.events


@seeds
def test_it_has_every_kind(seed: int) -> None:
    found = count_names(draw_schedule(seed, SIZE))
    programs = ("controller", "healer", "server", "guard", "ovs-vswitchd")
    wanted = {*EVENTS, *(one.value for one in Do)} - {"events", "kill", "freeze"}
    wanted |= {f"{do} {name}" for do in ("kill", "freeze") for name in programs}
    assert wanted <= found.keys()
    assert EVENT_WEIGHTS.keys() == EVENTS.keys()


@seeds
def test_guards_that_are_no_processes_are_left_alone(seed: int) -> None:
    found = count_names(draw_schedule(seed, ChaosSize(PLAN, 1000, 600)))
    assert not {"kill guard", "freeze guard"} & found.keys()


@seeds
def test_its_membership_events_are_possible_and_bounded(seed: int) -> None:
    state = Arrangement(PLAN, Membership.all_in_service(PLAN))
    at_once = set()
    for action in draw_schedule(seed, SIZE):
        if action.events:
            requests = [(EVENTS[kind], target) for kind, target in action.events]
            state = resolve_events(state, requests)[-1].new
            at_once.add(len(requests))
    assert at_once == {1, 2, 3}
    assert len(state.plan.chassis) <= len(PLAN.chassis) + MORE_CHASSIS
    nodes = sum(1 for _ in PLAN.nodes) + MORE_NODES + MORE_CHASSIS * 3
    assert sum(1 for _ in state.plan.nodes) <= nodes


@seeds
def test_bursts_are_followed_by_calm(seed: int) -> None:
    """So long that, at that pace, the bound of two seconds can be exceeded in it."""
    times = [action.at_s for action in draw_schedule(seed, SIZE)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= SIZE.duration_s
    calm = [later - time for time, later in zip(times, times[1:], strict=False)]
    assert sum(pause_s > 3 for pause_s in calm) > 50


def test_a_schedule_is_read_back(tmp_path: Path) -> None:
    actions = draw_schedule(3, SIZE)
    write_schedule(tmp_path / "schedule.json", actions, seed=3)
    assert read_schedule(tmp_path / "schedule.json") == actions


def test_of_a_result_the_shortest_sequence_is_read(tmp_path: Path) -> None:
    actions = draw_schedule(3, SIZE)[:4]
    short = [one.to_json() for one in actions[:2]]
    write_schedule(tmp_path / "chaos.json", actions, shortest=short)
    assert read_schedule(tmp_path / "chaos.json") == actions[:2]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"actions": [{}]}', '{"actions": [{"do": "dance"}]}'),
        '{"actions": [{"do": "kill", "whom": "c1n1"}]}',
    ],
)
def test_what_is_no_schedule_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedule.json").write_text(text)
    with pytest.raises(ScheduleError):
        read_schedule(tmp_path / "schedule.json")


def test_an_action_says_what_it_is() -> None:
    kill = Action(1.5, Do.KILL, "server c1n2")
    assert kill.names == ["kill server"]
    assert kill.text.split() == ["1.500", "s", "kill", "server", "c1n2"]
    both = Action(2, Do.EVENTS, events=(("fail-node", "c1n1"), ("uplink-down", "c2")))
    assert both.names == ["fail-node", "uplink-down"]
