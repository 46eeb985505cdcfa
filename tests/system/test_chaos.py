"""Chaos on a real cluster: some of it violates nothing, and what is wrong is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from experiments.chaos.chaos_actions import Action, Do, write_schedule
from experiments.chaos.chaos_facts import read_timeline
from experiments.chaos.chaos_judge import Terms, judge_timeline
from experiments.schemas.json_schemas import FOLDER
from tests.experiments.chaos_stories import BALANCER, START
from tests.system.commands import UNTRUSTED, processes_with, resetbed

pytestmark = pytest.mark.live

EVENTS = 40


def chaos(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and ``chaos.json`` of one run."""
    done = resetbed("chaos", "--out", str(folder), "--shrink", "0", *arguments)
    print(done.stdout, done.stderr)
    found: dict[str, Any] = json.loads((folder / "chaos.json").read_text())
    return done.returncode, found


def test_chaos_violates_nothing(tmp_path: Path) -> None:
    """And leaves nothing behind: neither a process nor one that is stopped."""
    arguments = ("--for", "24s", "--events", str(EVENTS), "--seed", "5")
    status, found = chaos(tmp_path / "chaos", *arguments)
    assert found["violations"] == []
    assert status in (0, UNTRUSTED)
    assert sum(found["done"].values()) + sum(found["skipped"].values()) == EVENTS
    assert found["connections"]["moved"] > 0
    assert found["connections"]["reset"] > 0
    assert found["data"]["acknowledged_writes"] > 0
    assert found["half_open"]["bound_s"] == 2.0
    schema = json.loads((FOLDER / "chaos.schema.json").read_text("utf-8"))
    jsonschema.validate(found, schema)
    assert not processes_with(str(tmp_path))
    timeline = read_timeline(tmp_path / "chaos" / "run-1" / "timeline.jsonl")
    assert judge_timeline(Terms(START, BALANCER, 2.0), timeline) == []


def test_it_sees_half_open_connections(tmp_path: Path) -> None:
    """Without fan-out and healing they stay as long as anybody looks; recorded, they
    violate the bound that is then not promised."""
    drains = Action(0.5, Do.EVENTS, events=(("drain-node", "c1n2"),))
    write_schedule(tmp_path / "schedule.json", [drains])
    arguments = ("--policy", "client-only", "--replay", str(tmp_path / "schedule.json"))
    _, found = chaos(tmp_path / "chaos", *arguments)
    assert found["violations"] == []
    assert found["half_open"]["bound_s"] is None
    assert found["half_open"]["seen"] > 0
    assert found["half_open"]["worst_s"] > 2.5
    timeline = tmp_path / "chaos" / "run-1" / "timeline.jsonl"
    promised = Terms(START, BALANCER, 1.0, slack_s=0.5)
    wrong = judge_timeline(promised, read_timeline(timeline))
    assert {one.invariant for one in wrong} == {"half-open"}
