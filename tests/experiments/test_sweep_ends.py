"""How a sweep resumes and ends: broken folders, untrusted runs, two at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars
import pytest

from experiments.report import page
from experiments.report.comparison import compare
from experiments.report.data import NothingToReport, load_report
from experiments.sweep import sweep
from experiments.sweep.runner import Layout, Runner
from experiments.sweep.state import (
    FAILED,
    MET,
    UNMET,
    UNTRUSTED,
    Record,
    StateFile,
    SweepLocked,
    read_records,
)
from experiments.sweep.suite import PlannedRun
from experiments.sweep.suite_file import expand, load_suite
from tests.experiments.run_folders import connection, moved, write_run
from tests.experiments.sketched_plots import sketched

SUITE = """
repetitions: 3
base: {scenario: drain-node}
factors: {policy: [drop, flood]}
"""
STAYED = [connection(port, "c2n1") for port in (1, 2, 3)]


class Sweep:
    """A sweep's folder, all of whose runs have been made, as expected."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = path / "small.yaml"
        self.file.write_text(SUITE)
        self.layout = Layout(path / "out")
        self.runs = expand(load_suite(self.file), self.file)
        self.made: list[str] = []
        monkeypatch.setattr(Runner, "execute", self._execute)
        monkeypatch.setattr(sweep, "provenance", dict)
        assert self.again() == 0

    def again(self, *, retry: bool = False) -> int:
        """The same command again; ``made`` are the runs that it made. Exit status."""
        self.made = []
        status, _ = sweep.run_sweep(self.file, self.layout.folder, 1, retry)
        return status

    def note(self, run: str, outcome: str, status: int = 0) -> None:
        """Records that run's end."""
        state = StateFile(self.layout.state)
        state.record(Record(run, outcome, status, "untrusted", 10.0, 12.5, 1))
        state.close()

    def one(self, policy: str) -> str:
        """The name of a run of that policy."""
        return next(run.name for run in self.runs if run.spec.policy == policy)

    def _execute(self, runs: Sequence[PlannedRun]) -> None:
        for run in runs:
            self.made.append(run.name)
            folder = self.layout.run(run.name)
            shutil.rmtree(folder, ignore_errors=True)
            rows = [moved(7, reset=run.spec.policy == "flood", freed_ms=4.0)]
            write_run(folder, run.spec.policy, STAYED + rows)
            # The sweep that executes them holds the state file.
            with self.layout.state.open("a") as lines:
                record = Record(run.name, MET, 0, None, 10.0, 12.5, 1)
                lines.write(json.dumps({"what": "run", **vars(record)}) + "\n")


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(tmp_path, monkeypatch)


def test_a_completed_run_is_not_repeated(done: Sweep) -> None:
    assert done.again() == 0
    assert done.made == []


@pytest.mark.parametrize("file", ["connections.jsonl", "summary.json"])
def test_a_run_with_a_broken_folder_is_repeated(done: Sweep, file: str) -> None:
    broken = done.one("flood")
    (done.layout.run(broken) / file).unlink()
    assert done.again() == 0
    assert done.made == [broken]


def test_a_run_with_a_truncated_summary_is_repeated(done: Sweep) -> None:
    broken = done.one("drop")
    (done.layout.run(broken) / "summary.json").write_text('{"policy": "drop"}')
    assert done.again() == 0
    assert done.made == [broken]


def test_a_broken_folder_of_a_complete_sweep_is_reported_as_failed(
    done: Sweep,
) -> None:
    broken = done.one("flood")
    shutil.rmtree(done.layout.run(broken))
    report = load_report(done.layout.folder)
    (entry,) = [one for one in report.entries if one.outcome == FAILED]
    assert entry.name == broken
    assert "cannot be read" in (entry.reason or "")


@pytest.mark.parametrize(
    ("outcome", "status", "after"),
    [(UNMET, 1, 1), (UNTRUSTED, 4, 4), (FAILED, 1, 1)],
)
def test_the_exit_status_is_that_of_the_runs_outcomes(
    done: Sweep, outcome: str, status: int, after: int
) -> None:
    done.note(done.one("flood"), outcome, status)
    assert done.again() == after
    assert done.made == []


def test_an_unexpected_run_takes_precedence_over_an_untrusted_one(done: Sweep) -> None:
    done.note(done.one("flood"), UNTRUSTED, 4)
    done.note(done.one("drop"), UNMET, 1)
    assert done.again() == 1


@pytest.mark.parametrize(
    ("outcome", "again"), [(UNMET, False), (UNTRUSTED, True), (FAILED, True)]
)
def test_failed_and_untrusted_runs_are_repeated_on_demand(
    done: Sweep, outcome: str, again: bool
) -> None:
    run = done.one("flood")
    done.note(run, outcome)
    done.again(retry=True)
    assert done.made == ([run] if again else [])


def test_medians_and_tables_exclude_untrusted_runs_and_count_them(
    done: Sweep,
) -> None:
    doubtful = done.one("flood")
    summary = done.layout.run(doubtful) / "summary.json"
    content = json.loads(summary.read_text())
    content["connections"]["hung"] = 1000
    summary.write_text(json.dumps(content))
    done.note(doubtful, UNTRUSTED, 4)
    done.again()
    table = polars.read_parquet(done.layout.folder / "summary.parquet")
    (row,) = table.filter(figure="hung", policy="flood").to_dicts()
    assert (row["runs"], row["n"], row["untrusted"], row["failed"]) == (3, 2, 1, 0)
    assert row["max"] == 0
    runs = polars.read_parquet(done.layout.folder / "runs.parquet")
    (single,) = runs.filter(run=doubtful).to_dicts()
    assert (single["outcome"], single["reason"]) == (UNTRUSTED, "untrusted")
    assert single["connections.hung"] is None
    connections = polars.read_parquet(done.layout.folder / "connections.parquet")
    assert doubtful not in set(connections["run"])


def test_a_report_excludes_untrusted_runs_and_tells_their_number(
    done: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "plot", sketched)
    doubtful = done.one("flood")
    done.note(doubtful, UNTRUSTED, 4)
    report = load_report(done.layout.folder)
    (line,) = [
        line
        for line in compare(report, report.settings, "all").lines
        if line.design == "flood"
    ]
    assert (line.failed, line.untrusted) == (0, 1)
    assert doubtful not in {run.path.name for run in report.of("flood")}
    text = page.page(report, done.layout.folder / "figures")
    assert "1 not trusted" in text
    assert "cannot be trusted" in text


def test_a_single_untrusted_run_has_no_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "flood", STAYED)
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {
        "outcome": UNTRUSTED,
        "measurement": {"reasons": ["3 socket events were lost"]},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(NothingToReport, match="3 socket events were lost"):
        load_report(folder)


def test_a_single_broken_run_has_no_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "flood", STAYED)
    (folder / "connections.jsonl").unlink()
    with pytest.raises(NothingToReport, match="connections.jsonl"):
        load_report(folder)


def test_a_second_sweep_in_the_same_folder_changes_nothing(
    done: Sweep, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SUITE.replace("flood", "directed"))
    state = StateFile(done.layout.state)
    try:
        with pytest.raises(SweepLocked):
            sweep.run_sweep(other, done.layout.folder, 1, False)
        assert done.layout.suite.read_text() == SUITE
    finally:
        state.close()
    assert len(read_records(done.layout.state)) == len(done.runs)
