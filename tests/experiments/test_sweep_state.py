"""The state file of a sweep, whole and torn; outcomes of runs; medians."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.sweep.bootstrap import median
from experiments.sweep.runner import outcome_of
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


def record(run: str, outcome: str = MET) -> Record:
    return Record(run, outcome, 0, None, 10.0, 12.5, 1)


def test_recorded_runs_are_read_back(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state")
    state.append("start", command=["sweep"])
    for run in ("a", "b"):
        state.record(record(run))
    state.record(record("a", FAILED))
    state.close()
    assert read_records(tmp_path / "state") == {
        "a": record("a", FAILED),
        "b": record("b"),
    }
    assert record("a").took_s == 2.5


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_an_incomplete_line_is_ignored_and_affects_no_other(
    cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    state = StateFile(path)
    state.record(record("a"))
    state.record(record("torn"))
    state.close()
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_records(path)) == ["a"] or cut == 1
    state = StateFile(path)
    state.record(record("b"))
    state.close()
    assert {"a", "b"} <= read_records(path).keys()


def test_without_a_state_file_there_is_no_record(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none") == {}


def test_one_sweep_at_a_time_in_a_folder(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state")
    with pytest.raises(SweepLocked):
        StateFile(tmp_path / "state")
    state.close()
    StateFile(tmp_path / "state").close()


def summary(folder: Path, outcome: str, *, met: bool = True) -> None:
    expectation = {"key": "connections.hung", "condition": 0, "found": 3, "met": met}
    reasons = ["6 socket events were lost"] if outcome == UNTRUSTED else []
    content = {
        "expectations": [expectation],
        "outcome": outcome,
        "measurement": {"reasons": reasons},
    }
    (folder / "summary.json").write_text(json.dumps(content))


def test_outcomes_and_their_reasons(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("wiring\nTraceback\nRunError: no node serves\n\n")
    assert outcome_of(1, tmp_path, log) == (FAILED, "RunError: no node serves")
    summary(tmp_path, MET)
    assert outcome_of(0, tmp_path, log) == (MET, None)
    summary(tmp_path, UNMET, met=False)
    assert outcome_of(1, tmp_path, log) == (UNMET, "connections.hung is 3, not 0")
    summary(tmp_path, UNTRUSTED, met=False)
    assert outcome_of(4, tmp_path, log) == (UNTRUSTED, "6 socket events were lost")
    (tmp_path / "summary.json").write_text('{"expectations": [')
    assert outcome_of(0, tmp_path, log)[0] == FAILED
    (tmp_path / "summary.json").write_text("[]")
    assert outcome_of(0, tmp_path, log)[0] == FAILED


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(MET, 1), (MET, 4), (MET, 137), (MET, None), (UNMET, 0), (UNTRUSTED, 1)],
)
def test_a_run_that_died_after_its_summary_has_failed(
    outcome: str, status: int | None, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("RuntimeError: too late\n")
    summary(tmp_path, outcome, met=outcome == MET)
    assert outcome_of(status, tmp_path, log) == (
        FAILED,
        f"exit status {status}: RuntimeError: too late",
    )


def test_medians_and_their_intervals() -> None:
    assert median([]).value is None
    two = median([1.0, 3.0])
    assert (two.n, two.value, two.low) == (2, 2.0, None)
    many = median([float(n) for n in range(101)])
    assert many.value == 50
    # The binomial interval of the median of 101 values, by order statistics, is 40..60.
    assert many.low == pytest.approx(40, abs=2)
    assert many.high == pytest.approx(60, abs=2)
    assert median([3.0, 1.0, 2.0]) == median([1.0, 2.0, 3.0])
