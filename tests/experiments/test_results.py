"""A run's results as files: the summary is written last and atomically; outcomes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.analysis import Analysis, analyse
from experiments.display.render import print_verdict
from experiments.files.whole_file import write_whole
from experiments.record.record_file import read_record, write_record
from experiments.record.run_record import RunRecord
from experiments.results.summary import _too_few, write_results
from experiments.spec.run_spec import RunSpec
from experiments.verdict.trust import (
    AS_EXPECTED,
    EXIT_STATUS,
    UNEXPECTED,
    UNTRUSTED,
    outcome,
    reasons,
    worst,
)
from tests.experiments.golden_runs import GoldenRun

QUIET: dict[str, Any] = {
    "events_lost": 0,
    "dropped": 0,
    "clock_step_ns": 0,
    "clients_without_summary": 0,
    "captured": 100,
    "opened_by_kernel": 12,
    "sockets_begun_unseen": 0,
}


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, RunSpec, RunRecord, Analysis]:
    """A good run, analysed, and its folder before the results are written."""
    golden = GoldenRun.load("flood")
    golden.summary(tmp_path)
    record = read_record(tmp_path)
    spec = RunSpec.model_validate(golden.spec)
    return tmp_path, spec, record, analyse(record)


def test_the_summary_is_written_last(
    run: tuple[Path, RunSpec, RunRecord, Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spec, record, analysis = run
    written: list[set[str]] = []
    move = os.replace

    def moved(source: Path, target: Path) -> Path:
        written.append({path.name for path in folder.iterdir()})
        move(source, target)
        return Path(target)

    monkeypatch.setattr(Path, "replace", moved)
    summary = write_results(folder, spec, record, analysis)
    (before,) = written
    assert {"connections.jsonl", "ladder.svg", "ladder.txt"} <= before
    assert "summary.json" not in before
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_a_run_that_dies_before_its_end_has_no_summary(
    run: tuple[Path, RunSpec, RunRecord, Analysis],
) -> None:
    folder, spec, record, analysis = run
    dying = replace(analysis, connections=[*analysis.connections, {"no": object()}])
    with pytest.raises(TypeError):
        write_results(folder, spec, record, dying)
    assert not (folder / "summary.json").exists()


def test_a_file_has_the_new_content_or_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "new, and cut short")
    assert path.read_text() == "old"


def test_a_record_is_read_as_it_was_written(
    run: tuple[Path, RunSpec, RunRecord, Analysis],
) -> None:
    folder, _, record, _ = run
    write_record(folder, record)
    assert read_record(folder) == record


@pytest.mark.parametrize(
    ("seen", "opened", "message"),
    [
        ({}, 12, []),
        ({"events_lost": 10}, 12, ["10 socket events were lost"]),
        (
            {"sockets_begun_unseen": 2},
            12,
            ["2 sockets were seen, but not their opening"],
        ),
        ({"dropped": 3}, 12, ["3 segments were dropped"]),
        ({"dropped": None, "captured": None}, 12, []),
        ({"clock_step_ns": -5}, 12, ["-5 ns is how far the clock was set"]),
        ({"clients_without_summary": 1}, 12, ["1 clients ended without"]),
        (
            {"opened_by_kernel": 11},
            12,
            ["clients report 12 opened connections, the kernel 11"],
        ),
        ({}, 11, ["clients report 11 opened connections, the kernel 12"]),
        ({"opened_by_kernel": 0}, 12, ["saw none of 12"]),
        ({"captured": 0}, 12, ["holds no segment"]),
        ({"captured": 0, "opened_by_kernel": 0}, 0, []),
    ],
)
def test_reasons_for_distrust(
    seen: dict[str, Any], opened: int, message: list[str]
) -> None:
    found = reasons({**QUIET, **seen}, opened)
    assert len(found) == len(message)
    assert all(part in text for part, text in zip(message, found, strict=True))


def test_the_outcome_of_a_run() -> None:
    assert outcome([], all_met=True) == AS_EXPECTED
    assert outcome([], all_met=False) == UNEXPECTED
    assert outcome(["lost"], all_met=True) == UNTRUSTED
    assert outcome(["lost"], all_met=False) == UNTRUSTED
    assert EXIT_STATUS == {AS_EXPECTED: 0, UNEXPECTED: 1, UNTRUSTED: 4}


def test_the_outcome_of_several_runs() -> None:
    assert worst([]) == worst([AS_EXPECTED]) == AS_EXPECTED
    assert worst([AS_EXPECTED, UNTRUSTED]) == UNTRUSTED
    assert worst([UNTRUSTED, UNEXPECTED, AS_EXPECTED]) == UNEXPECTED


def test_the_outcome_is_printed(
    run: tuple[Path, RunSpec, RunRecord, Analysis], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, spec, record, analysis = run
    summary = write_results(folder, spec, record, analysis)
    print_verdict(summary)
    assert capsys.readouterr().out == ""
    no_capture = replace(record, capture_file=None)
    blind = write_results(folder, spec, no_capture, analyse(no_capture))
    print_verdict(blind)
    message = " ".join(capsys.readouterr().out.split())
    assert "not judged with flood: nothing was captured (capture: false)" in message
    assert "claim.E1.passed" in message
    summary["measurement"] |= {"reasons": ["[it] lost"], "disagreements": ["x at c1n1"]}
    summary["expectations"][0] |= {"met": False}
    summary["disturbed"] = ["h1 at c1n1: reset by [somebody]"]
    print_verdict(summary)
    message = " ".join(capsys.readouterr().out.split())
    assert "disturbed with flood: h1 at c1n1: reset by [somebody]" in message
    assert "cannot be trusted, flood: [it] lost" in message
    assert "NOT as expected with flood: connections.broken_unmoved" in message
    assert "NOT agreed with flood: x at c1n1" in message


@pytest.mark.parametrize(
    ("policy", "size", "left"),
    [
        ("flood", (2, 1), set()),
        ("flood-others", (2, 1), {"E3"}),
        ("flood", (1, 2), {"E4"}),
        ("flood", (1, 1), {"E3", "E4"}),
        ("flood-others", (2, 2), set()),
    ],
)
def test_a_small_cluster_does_not_satisfy_the_claims_plurality(
    policy: str, size: tuple[int, int], left: set[str]
) -> None:
    cluster = {"chassis": size[0], "nodes": size[1]}
    spec = RunSpec.model_validate({"policy": policy, "cluster": cluster})
    assert _too_few(spec.states()) == left
