"""One fact of a good run's record is changed at a time; the verdict must change each time.

The records are of real runs (:mod:`tests.experiments.golden_runs`), and they go through
the real analysis. Some fault must break each expectation, and cause each reason for
distrust. Otherwise no verdict depends on it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from controller.policies import POLICIES
from experiments.analysis.analysis import analyse
from experiments.record.record_file import read_record
from experiments.spec.spec_file import find_spec, load_spec, scenario_names
from experiments.verdict import trust
from experiments.verdict.promises import (
    COMMON,
    CONDITIONS_OF,
    WHEN_ADDED,
    WHEN_HEALED,
    WHEN_LOCKED,
    WHEN_LOCKED_AND_HEALED,
    WHEN_PLANNED,
    WHEN_SPEAKING,
)
from tests.experiments.golden_runs import FOLDER, GoldenRun
from tests.experiments.record_faults import FAULTS, Fault, Subject
from topologies.domain.connection import FourTuple

RECORDS = sorted(path.name for path in FOLDER.iterdir())


@cache
def rows_of(name: str) -> list[dict[str, Any]]:
    """The connections of the unchanged record."""
    with TemporaryDirectory() as folder:
        GoldenRun.load(name).summary(Path(folder))
        return analyse(read_record(Path(folder))).connections


def subject(name: str, *, moved: bool) -> Subject:
    """A connection of a record that moved, or one that did not."""
    row = next(row for row in rows_of(name) if row["moved"] is moved)
    client, vip = (end.rsplit(":", 1) for end in row["connection"].split(" > "))
    connection = FourTuple(client[0], int(client[1]), vip[0], int(vip[1]))
    return Subject(connection, row["owner"], row["new_owner"])


@pytest.mark.parametrize("name", RECORDS)
def test_the_unchanged_record_is_as_expected(name: str, tmp_path: Path) -> None:
    summary = GoldenRun.load(name).summary(tmp_path)
    assert [one for one in summary["expectations"] if not one["met"]] == []
    assert summary["measurement"]["reasons"] == []
    assert (summary["outcome"], summary["as_expected"]) == ("as-expected", True)


@pytest.mark.parametrize("name", sorted({fault.of for fault in FAULTS}))
def test_a_record_to_be_changed_has_moved_and_unmoved_connections(
    name: str, tmp_path: Path
) -> None:
    connections = GoldenRun.load(name).summary(tmp_path)["connections"]
    assert connections["moved"] >= 3
    assert connections["opened"] - connections["moved"] >= 3


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_changed_record_is_not_as_expected(fault: Fault, tmp_path: Path) -> None:
    run = GoldenRun.load(fault.of)
    fault.act(run, subject(fault.of, moved=True), subject(fault.of, moved=False))
    summary = run.summary(tmp_path)
    unmet = {one["key"] for one in summary["expectations"] if not one["met"]}
    assert set(fault.unmet) <= unmet, summary["claim"]
    assert doubted(summary) >= set(fault.doubts)
    if fault.doubts:
        assert (summary["outcome"], summary["as_expected"]) == ("untrusted", None)
        assert summary["measurement"]["reliable"] is False
    else:
        assert summary["measurement"]["reasons"] == []
        assert (summary["outcome"], summary["as_expected"]) == ("unexpected", False)


def test_every_figure_of_a_verdict_is_broken_by_some_change() -> None:
    promised = [
        *(*CONDITIONS_OF.values(), *WHEN_PLANNED.values(), *WHEN_ADDED.values()),
        *(COMMON, WHEN_SPEAKING, WHEN_HEALED, WHEN_LOCKED, WHEN_LOCKED_AND_HEALED),
    ]
    shipped = [load_spec(find_spec(name)).expect for name in scenario_names()]
    keys = {key for conditions in (*promised, *shipped) for key in conditions}
    # That something was out of reach is a condition of one scenario, not a promise.
    keys.discard("half_open.out_of_reach")
    assert keys - {key for fault in FAULTS for key in fault.unmet} == set()


def test_every_reason_for_distrust_is_caused_by_some_change() -> None:
    checks = {one.__name__.strip("_") for one in trust.DISAGREEMENTS}
    given = {name for fault in FAULTS for name in fault.doubts}
    assert {*trust.LOSSES, *checks} - given == set()


def test_every_promise_is_made_by_a_policy_and_has_figures() -> None:
    made = {promise for policy in POLICIES.values() for promise in policy.promises}
    assert made == CONDITIONS_OF.keys() | WHEN_PLANNED.keys() | WHEN_ADDED.keys()
    assert all(
        conditions
        for table in (CONDITIONS_OF, WHEN_PLANNED, WHEN_ADDED)
        for conditions in table.values()
    )


def doubted(summary: dict[str, Any]) -> set[str]:
    """Names of the figures and checks for which the measurement is not trusted."""
    seen = {
        **summary["measurement"],
        "opened": summary["connections"]["opened"],
    }
    checks = {one.__name__.strip("_") for one in trust.DISAGREEMENTS if one(seen)}
    losses = {key for key in trust.LOSSES if seen[key]}
    assert len(checks | losses) == len(summary["measurement"]["reasons"])
    return checks | losses
