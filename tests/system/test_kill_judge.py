"""The judge of killed runs sees each fault; the schedule reaches every program."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from tests.system.kills.ending_judge import faults_of
from tests.system.kills.kill_schedule import PHASES, Kill, draw
from tests.system.kills.killed_run import Ending
from tests.system.kills.victims import VICTIMS
from topologies.processes import Process

VICTIM = Process(7, 7)
STEADY = PHASES[1]


def kill_of(name: str) -> Kill:
    (victim,) = (one for one in VICTIMS if one.name == name)
    return Kill(0, victim, STEADY, 0.1, 0, 1)


def connection(
    owner: str, *, moved: bool = False, reset: bool = False
) -> dict[str, Any]:
    return {
        "connection": f"of {owner}",
        "owner": owner,
        "moved": moved,
        "reset_s": 1.0 if reset else None,
    }


def ending(host: str = "", restarted: str = "", **changed: Any) -> Ending:
    """A run that went on as it should."""
    summary: dict[str, Any] = {
        "outcome": "as-expected",
        "data": {"lost_writes": 0},
        "connections": {"hung": 0, "broken_unmoved": 0},
    }
    connections = [connection("c1n1"), connection("c1n2", moved=True, reset=True)]
    programs = [restarted] if restarted else []
    well = Ending(VICTIM, host, 0, "", [], summary, connections, 0, programs)
    return replace(well, **changed)


WELL = ending("", "controller")
GONE = ending(status=137, summary=None, errors="resetbed: SIGKILL ended this run; ...")


def test_what_is_well() -> None:
    assert faults_of(kill_of("controller"), WELL) == []
    assert faults_of(kill_of("init"), GONE) == []
    launcher = replace(GONE, status=-signal.SIGKILL, errors="")
    assert faults_of(kill_of("launcher"), launcher) == []
    server = ending("c1n1", "server c1n1", connections=[connection("c1n1", reset=True)])
    assert faults_of(kill_of("server"), server) == []
    gave_up = replace(GONE, status=1, errors="resetbed: probes: no 'ready'")
    assert faults_of(kill_of("probes"), gave_up) == []


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("controller", replace(WELL, left=["c1-n1"]), "left behind"),
        ("controller", replace(WELL, errors="Traceback (most"), "traceback"),
        ("controller", replace(WELL, restarted=[]), "not started again"),
        ("controller", replace(WELL, status=1), "its exit status 1"),
        ("controller", replace(WELL, hung=1), "1 connections hang"),
        ("controller", replace(WELL, victim=None, summary=None), "no summary"),
        ("controller", GONE, "did not survive"),
        ("probes", replace(GONE, status=3), "not 1"),
        ("probes", replace(GONE, status=1, errors=""), "no reason"),
        ("init", replace(GONE, status=1), "not 137"),
        ("init", replace(GONE, errors=""), "does not say"),
        ("launcher", GONE, "not by SIGKILL"),
        (
            "server",
            ending("c1n2", "server c1n2", connections=[connection("c1n1", reset=True)]),
            "was reset",
        ),
        ("server", ending("c1n1", "server c2n2"), "server c1n1 was not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_seen(name: str, wrong: Ending, says: str) -> None:
    found = faults_of(kill_of(name), wrong)
    assert any(says in one for one in found), found


@pytest.mark.parametrize("key", ["lost_writes", "broken_unmoved"])
def test_a_figure_that_is_wrong(key: str) -> None:
    summary = dict(WELL.summary or {})
    for part in ("data", "connections"):
        if key in summary[part]:
            summary[part] = {**summary[part], key: 1}
    assert faults_of(kill_of("controller"), replace(WELL, summary=summary))


def test_the_schedule_reaches_all() -> None:
    kills = draw(1, len(VICTIMS) * len(PHASES))
    assert {kill.victim for kill in kills} == set(VICTIMS)
    assert {kill.phase for kill in kills[: len(PHASES)]} == set(PHASES)
    assert draw(1, 5) == kills[:5]
    assert draw(2, 5) != kills[:5]
