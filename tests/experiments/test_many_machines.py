"""What a sweep notes of runs on many machines, and how it goes on from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars
import pytest

from experiments.fleet.machine_facts import differences, refusal
from experiments.fleet.parcel import NotWhole, pack
from experiments.fleet.placing import Home, Machine, Order, Placing
from experiments.fleet.task import Reply
from experiments.sweep.many_machines import (
    RunCollector,
    SweepAtWork,
    make_placing,
    read_homes,
)
from experiments.sweep.progress import Progress
from experiments.sweep.runner import Layout
from experiments.sweep.state import FAILED, MET, StateFile, read_lines, read_records
from experiments.sweep.suite import PlannedRun
from experiments.sweep.suite_file import expand, load_suite
from experiments.sweep.sweep import completed_runs
from experiments.sweep.tables import write_tables
from tests.experiments.run_folders import connection, write_run

SUITE = """
repetitions: 2
base: {scenario: drain-node}
factors: {policy: [drop, flood], workload.connections: [8, 9]}
"""
FACTS = {"code": "abc", "code_digest": "0" * 64, "kernel": "6.1", "datapath": "kernel"}
ALPHA, BETA = Machine("alpha", "1", 1), Machine("beta", "2", 1)


class Folder:
    """A sweep's folder, before its first run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = path / "small.yaml"
        file.write_text(SUITE)
        self.suite = load_suite(file)
        self.runs = expand(self.suite, file)
        self.layout = Layout(path / "out")
        self.layout.folder.mkdir()
        self.state = StateFile(self.layout.state)
        self.start()

    def start(self) -> None:
        """The command starts, again."""
        records = read_records(self.layout.state)
        remaining = [run for run in self.runs if run.name not in records]
        sweep = SweepAtWork(
            *(self.suite, self.runs, remaining, records, self.layout, self.state)
        )
        self.placing: Placing = make_placing(sweep, 0.0)
        progress = Progress(self.runs, remaining, records, 1)
        self.collector = RunCollector(sweep, self.placing, progress)

    def next_order(self, machine: Machine) -> Order:
        """The next run of that machine, and the home before it, if there is one."""
        self.placing.see([machine], 1e9)
        for decision in self.placing.decide(2e9):
            if isinstance(decision, Home):
                self.collector.on_home(decision)
            else:
                return decision
        raise AssertionError("nothing to do")

    def end(self, order: Order, reply: Reply) -> None:
        """A reply arrives."""
        self.collector.on_reply(order, reply)
        assert self.placing.finished(order)

    def run_of(self, order: Order) -> PlannedRun:
        """The run of an order."""
        return next(run for run in self.runs if run.name == order.task.name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A sweep of eight runs in four groups."""
    return Folder(tmp_path)


def reply_of(scratch: Path, policy: str) -> Reply:
    """What a machine sends of a run that is as expected."""
    made = write_run(scratch, policy, [connection(1, "c2n1")])
    archive, digests = pack(made)
    return Reply(0, None, 10.0, 12.5, b"a line\n", archive, digests)


def test_all_designs_on_the_same_connections_are_one_group(folder: Folder) -> None:
    groups: dict[str, list[PlannedRun]] = {}
    for run in folder.runs:
        groups.setdefault(run.group(), []).append(run)
    assert len(groups) == 4
    for runs in groups.values():
        assert {run.spec.policy for run in runs} == {"drop", "flood"}
        assert len({run.spec.seed for run in runs}) == 1


def test_a_reply_becomes_a_run_with_its_machine(folder: Folder) -> None:
    order = folder.next_order(ALPHA)
    policy = folder.run_of(order).spec.policy
    folder.end(order, reply_of(folder.path / "made", policy))
    (record,) = read_records(folder.layout.state).values()
    assert (record.outcome, record.machine, record.took_s) == (MET, "alpha", 2.5)
    assert folder.layout.log(record.run).read_text() == "a line\n"
    write_tables(folder.layout.folder, completed_runs(folder.runs, folder.layout))
    (row,) = polars.read_parquet(folder.layout.folder / "runs.parquet").to_dicts()
    assert row["machine"] == "alpha"
    assert row["kernel"]


def test_a_reply_that_is_not_whole_is_no_run(folder: Folder) -> None:
    order = folder.next_order(ALPHA)
    reply = reply_of(folder.path / "made", "drop")
    name = next(iter(reply.digests))
    with pytest.raises(NotWhole, match=name):
        folder.end(order, replace(reply, digests={**reply.digests, name: "0" * 64}))
    assert read_records(folder.layout.state) == {}
    assert not folder.layout.run(order.task.name).exists()


def test_failed_runs_keep_their_reason(folder: Folder) -> None:
    archive, digests = pack(folder.path / "nothing")
    empty = Reply(None, "not done within 5 s", 1.0, 6.0, b"", archive, digests)
    order = folder.next_order(ALPHA)
    folder.end(order, empty)
    second = folder.next_order(ALPHA)
    died = replace(empty, status=-9, reason=None, log=b"x\nno memory\n")
    folder.end(second, died)
    third = folder.next_order(ALPHA)
    folder.collector.on_given_up(third, "lost 3 times")
    records = read_records(folder.layout.state)
    assert {records[o.task.name].reason for o in (order, second, third)} == {
        "not done within 5 s",
        "no memory",
        "lost 3 times",
    }
    assert {record.outcome for record in records.values()} == {FAILED}


def test_a_command_that_is_started_again_goes_on(folder: Folder) -> None:
    first = folder.next_order(ALPHA)
    reply = reply_of(folder.path / "made", folder.run_of(first).spec.policy)
    folder.end(first, reply)
    folder.start()
    second = folder.next_order(ALPHA)
    assert second.task.group == first.task.group
    assert second.task.name != first.task.name
    assert read_homes(folder.layout.state) == {first.task.group: "alpha"}


def test_a_group_that_has_moved_is_done_again_also_after_a_start(
    folder: Folder,
) -> None:
    first = folder.next_order(ALPHA)
    reply = reply_of(folder.path / "made", folder.run_of(first).spec.policy)
    folder.end(first, reply)
    while read_homes(folder.layout.state)[first.task.group] == "alpha":
        order = folder.next_order(BETA)
        if order.task.group != first.task.group:
            folder.collector.on_given_up(order, "out of the way")
            folder.placing.finished(order)
    folder.start()
    assert first.task.name in {task.name for task in folder.placing.remaining}
    (moved,) = (
        line
        for line in read_lines(folder.layout.state)
        if line["what"] == "home" and line["left"]
    )
    assert (moved["left"], moved["again"]) == ("alpha", [first.task.name])


def test_machines_that_differ_are_noted_once(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.collector.on_machine("alpha", FACTS)
    folder.collector.on_machine("beta", {**FACTS, "kernel": "6.12"})
    folder.start()
    folder.collector.on_machine("beta", {**FACTS, "kernel": "6.12"})
    assert "differs from alpha: kernel 6.1 / 6.12" in capsys.readouterr().err
    noted = [x for x in read_lines(folder.layout.state) if x["what"] == "machine"]
    assert [(x["name"], x["differs"]) for x in noted] == [
        ("alpha", []),
        ("beta", ["kernel 6.1 / 6.12"]),
    ]


def test_only_the_same_code_is_accepted() -> None:
    assert refusal(FACTS, FACTS) is None
    other = {**FACTS, "code": "def", "code_digest": "1" * 64}
    why = refusal(FACTS, other)
    assert why
    assert "def (content 111111111111)" in why
    assert "abc (content 000000000000)" in why
    assert refusal(FACTS, {}), "a worker of somebody else"
    assert differences(FACTS, other) == []
