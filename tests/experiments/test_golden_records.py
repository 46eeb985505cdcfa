"""A record of each shipped scenario, through analysis, verdict, ladder and report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.report import page
from experiments.report.data import load_report
from experiments.results.judge import judge_folder
from experiments.spec.spec_file import scenario_names
from tests.experiments.golden_runs import FOLDER, GoldenRun, figures_of
from tests.experiments.sketched_plots import sketched

NAMES = scenario_names()
every_scenario = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, each judged from its record alone."""
    folder = tmp_path_factory.mktemp("golden")
    for name in NAMES:
        (folder / name).mkdir()
        GoldenRun.load(name).write(folder / name)
        judge_folder(folder / name)
    return folder


@every_scenario
def test_the_record_is_of_that_scenario(name: str) -> None:
    assert GoldenRun.load(name).spec["scenario"] == name


@every_scenario
def test_its_figures_are_those_of_the_run(name: str, runs: Path) -> None:
    """The same from the record, today, as when it was made, by the run itself."""
    summary = json.loads((runs / name / "summary.json").read_text())
    kept = json.loads((FOLDER / name / "figures.json").read_text())
    assert figures_of(summary) == pytest.approx(kept)


@every_scenario
def test_every_element_of_the_claim_holds(name: str, runs: Path) -> None:
    summary = json.loads((runs / name / "summary.json").read_text())
    spoke = summary["connections"]["spoke"]
    rows = [(row["checked"], row["held"], row["passed"]) for row in summary["claim"]]
    assert [passed for *_, passed in rows] == [True] * 5
    assert all(0 < held == checked <= spoke for checked, held, _ in rows)


@every_scenario
def test_its_ladder_shows_a_stray_and_the_copies(name: str, runs: Path) -> None:
    text = (runs / name / "ladder.txt").read_text()
    for word in ("stray", "fabric", "RST"):
        assert word in text
    assert (runs / name / "ladder.svg").read_text().startswith("<svg")


def test_one_report_shows_all_golden_runs(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "plot", sketched)
    report = load_report(runs)
    assert len(report.entries) == len(NAMES)
    text = page.page(report, runs / "figures")
    assert [name for name in NAMES if name not in text] == []


def test_the_record_with_locks_has_the_waits_of_the_run(tmp_path: Path) -> None:
    summary = GoldenRun.load("postgres").summary(tmp_path)
    kept = json.loads((FOLDER / "postgres" / "figures.json").read_text())
    assert figures_of(summary) == pytest.approx(kept)
    assert summary["harm"]["own_lock"]["asked"] == summary["connections"]["reset"] > 0
    assert 0 < kept["unlocked"] < 1000
