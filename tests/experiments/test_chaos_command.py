"""The command ``chaos`` with a made-up sandbox: arguments, exit status, the search for the
shortest sequence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from experiments.chaos import chaos_launch
from experiments.chaos.chaos_actions import Action, Do, read_schedule, write_schedule
from experiments.chaos.chaos_facts import Fault, TimelineWriter
from experiments.chaos.chaos_job import FOUND
from experiments.chaos.chaos_judge import ChaosJudge, Terms
from experiments.chaos.chaos_run import Seen, Tally, summarise
from experiments.commands.cli import main
from experiments.verdict.trust import EXIT_STATUS
from tests.experiments.chaos_stories import BALANCER, START

CAUSES = {"healer", "server c1n2"}
ACTIONS = [
    Action(float(n), Do.KILL, target)
    for n, target in enumerate(
        ("controller", "healer", "server c1n1", "server c1n2", "ovs-vswitchd c1")
    )
]
#: After the violation, at 4.5 s.
LATER = Action(9.0, Do.KILL, "ovsdb-server c1")


class Sandbox:
    """In place of a real one: a run in which both causes together are a fault."""

    def __init__(self, *, repeats: bool = True) -> None:
        self.schedules: list[list[str]] = []
        self.jobs: list[dict[str, Any]] = []
        self._repeats = repeats

    def enter(self, argv: Sequence[str], name: str, *, detach: bool) -> int:
        """Writes what the job would find."""
        job = json.loads(argv[-1])
        actions = read_schedule(Path(job["schedule"]))
        self.jobs.append(job)
        self.schedules.append([one.target for one in actions])
        folder = Path(job["folder"])
        with (folder / "timeline.jsonl").open("w", encoding="utf-8") as file:
            judge = ChaosJudge(Terms(START, BALANCER, 2.0))
            seen = Seen(judge, TimelineWriter(file))
            if {one.target for one in actions} >= CAUSES and (
                self._repeats or len(self.jobs) == 1
            ):
                seen.feed(Fault(1000.0 + 4.5, "a fault"))
        counts = {"lost": 0, "clock_step_ns": 0}
        summary = summarise({}, seen, Tally([*actions]), (job["seed"], 1000.0), counts)
        (folder / FOUND).write_text(summary.model_dump_json())
        return EXIT_STATUS[summary.outcome]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    made = Sandbox()
    monkeypatch.setattr(chaos_launch, "sandbox", made)
    return made


def chaos(*arguments: str) -> Result:
    options = ("--guard", "scapy", "--datapath", "userspace")
    return CliRunner().invoke(main, ["chaos", *options, *arguments])


@pytest.fixture
def schedule(tmp_path: Path) -> str:
    path = tmp_path / "schedule.json"
    write_schedule(path, [*ACTIONS, LATER])
    return str(path)


@pytest.fixture(autouse=True)
def everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine need not have a guard or a datapath."""
    monkeypatch.setattr(chaos_launch, "find_datapath", lambda _: None)
    monkeypatch.setattr(chaos_launch, "guards_are_processes", lambda _: True)


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "chaos.json").read_text())
    return found


def test_without_a_violation_the_status_is_0(tmp_path: Path, sandbox: Sandbox) -> None:
    out = tmp_path / "out"
    arguments = ("--for", "1m", "--events", "1", "--seed", "3", "--out", str(out))
    done = chaos(*arguments, "--heal-within", "1")
    assert done.exit_code == 0, done.output
    (job,) = sandbox.jobs
    assert job["seed"] == 3
    assert job["options"]["heal_within_s"] == 1.0
    assert summary_of(out)["outcome"] == "as-expected"
    assert summary_of(out)["shortest"] is None


def test_the_number_of_events_follows_from_the_time(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """The schedule is in the results, and is that of the seed."""
    for number in (1, 2):
        out = tmp_path / str(number)
        chaos("--for", "2m", "--seed", "3", "--shrink", "0", "--out", str(out))
    one, other = sandbox.jobs
    actions = read_schedule(Path(one["schedule"]))
    assert sum(len(action.names) for action in actions) == 200
    assert actions == read_schedule(Path(other["schedule"]))


def test_the_shortest_sequence_is_found_and_kept(
    tmp_path: Path, sandbox: Sandbox, schedule: str
) -> None:
    out = tmp_path / "out"
    done = chaos("--replay", schedule, "--out", str(out))
    assert done.exit_code == 1
    found = summary_of(out)
    assert {one["target"] for one in found["shortest"]} == CAUSES
    assert found["violations"][0]["invariant"] == "fault"
    assert found["seed"] is None
    # The actions after the violation were left out first.
    assert sandbox.schedules[1] == [one.target for one in ACTIONS]
    assert found["tries"] == len(sandbox.schedules) - 1
    again = chaos("--replay", str(out / "chaos.json"), "--out", str(tmp_path / "2"))
    assert again.exit_code == 1
    assert set(sandbox.schedules[found["tries"] + 1]) == CAUSES


def test_the_search_can_be_left_out(
    tmp_path: Path, sandbox: Sandbox, schedule: str
) -> None:
    arguments = ("--shrink", "0", "--out", str(tmp_path / "out"))
    assert chaos("--replay", schedule, *arguments).exit_code == 1
    assert len(sandbox.jobs) == 1


def test_what_does_not_happen_again_has_no_shortest_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    once = Sandbox(repeats=False)
    monkeypatch.setattr(chaos_launch, "sandbox", once)
    done = chaos("--replay", schedule, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "did not happen again" in done.output
    assert len(once.jobs) == 2
    assert summary_of(tmp_path / "out")["shortest"] is None


def test_a_run_that_does_not_get_to_its_end_has_its_own_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Sandbox):
        def enter(self, argv: Sequence[str], name: str, *, detach: bool) -> int:
            return 3

    monkeypatch.setattr(chaos_launch, "sandbox", Broken())
    assert chaos("--for", "1m", "--out", str(tmp_path / "out")).exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        *(("--for", "soon"), ("--for", "-1m"), ("--for", "1d"), ("--for", "")),
        *(("--events", "0"), ("--chassis", "0"), ("--policy", "none")),
        ("--replay", "missing.json"),
    ],
)
def test_bad_input_is_refused(sandbox: Sandbox, arguments: tuple[str, ...]) -> None:
    assert chaos(*arguments).exit_code == 2
    assert not sandbox.jobs


def test_a_file_that_is_no_schedule_is_refused(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert chaos("--replay", str(tmp_path / "x.json")).exit_code == 2
    assert not sandbox.jobs
