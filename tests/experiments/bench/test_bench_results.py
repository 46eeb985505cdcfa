"""The benchmark from beginning to end, in sandboxes that only write invented results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from experiments.bench import bench
from experiments.bench.basis.figure import Setting
from experiments.bench.basis.size import QUICK, Size
from experiments.bench.bench import BenchResult, run_bench
from experiments.bench.figures import FIGURES
from tests.experiments.bench.made_up_results import measured, wave
from topologies import sandbox
from topologies.datapaths import KERNEL, USERSPACE

Found = dict[str, Any]


@dataclass
class Sandboxes:
    """Each writes the result of ``found`` for its setting; None: it does not come up."""

    folder: Path
    found: Callable[[Sequence[str], Setting], Found | None] = measured
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, argv: Sequence[str], _name: str) -> None:
        job = json.loads(argv[-1])
        self.jobs.append(job)
        found = self.found(job["figures"], Setting(**job["setting"]))
        if found is not None:
            Path(job["folder"], "found.json").write_text(json.dumps(found))

    def run(
        self, *names: str, size: Size = QUICK, datapaths: Sequence[str] = (USERSPACE,)
    ) -> BenchResult:
        return run_bench(size, self.folder, names, datapaths)

    def written(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "bench.json").read_text())
        return document


@pytest.fixture
def sandboxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandboxes:
    made = Sandboxes(tmp_path)
    monkeypatch.setattr(sandbox, "enter", made.enter)
    monkeypatch.setattr(bench, "provenance", lambda: {"code": "of the test"})
    return made


def test_good_results_are_written(sandboxes: Sandboxes) -> None:
    result = sandboxes.run(*FIGURES)
    assert result.reached
    assert list(result.lines) == list(FIGURES)
    written = sandboxes.written()
    assert written["lines"]["bulk"] == json.loads(
        json.dumps([line.to_json() for line in result.lines["bulk"]])
    )
    assert Size.from_json(written["size"]) == QUICK
    assert (written["schema"], written["errors"], written["unreliable"]) == (1, [], {})
    assert written["provenance"] == {"code": "of the test"}
    assert (sandboxes.folder / "growth-userspace.svg").exists()
    assert (sandboxes.folder / "latency-userspace.svg").exists()


def test_what_is_written_is_what_was_returned(sandboxes: Sandboxes) -> None:
    result = sandboxes.run("bulk", "growth")
    assert json.loads(json.dumps(result.document)) == sandboxes.written()


def test_a_network_comes_up_once_for_all_its_figures(sandboxes: Sandboxes) -> None:
    sandboxes.run("bulk", "round-trip", "mass-reset", "growth")
    settings = [Setting(**job["setting"]) for job in sandboxes.jobs]
    assert len(set(settings)) == len(settings) == 5
    wanted = dict(
        zip(settings, (job["figures"] for job in sandboxes.jobs), strict=True)
    )
    array = Setting.array("ours", QUICK)
    assert wanted[array] == ["bulk", "round-trip", "mass-reset", "growth"]
    assert wanted[replace(array, kind="stock-tso")] == ["bulk", "round-trip"]
    assert wanted[replace(array, chassis=3)] == ["growth"]


def test_only_the_requested_figures_are_measured(sandboxes: Sandboxes) -> None:
    result = sandboxes.run("footprint")
    assert [job["figures"] for job in sandboxes.jobs] == [["footprint"]]
    assert list(result.lines) == ["footprint"]


def test_every_datapath_is_measured_and_its_lines_name_it(sandboxes: Sandboxes) -> None:
    result = sandboxes.run("bulk", datapaths=[KERNEL, USERSPACE])
    shown = [line.datapath for line in result.lines["bulk"]]
    assert shown == [KERNEL, KERNEL, USERSPACE, USERSPACE]
    for job in sandboxes.jobs:
        assert job["setting"]["datapath"] == job["size"]["datapath"]
    assert sandboxes.written()["datapaths"] == [KERNEL, USERSPACE]


def test_repetitions_go_round_all_networks(sandboxes: Sandboxes) -> None:
    sandboxes.run("bulk", size=replace(QUICK, repetitions=2))
    kinds = [job["setting"]["kind"] for job in sandboxes.jobs]
    assert kinds == ["ours", "stock-tso"] * 2
    assert len({job["folder"] for job in sandboxes.jobs}) == 4
    raw = sandboxes.written()["raw"]
    assert [len(found) for found in raw.values()] == [2, 2]


def failing(kind: str, figure: str) -> Callable[[Sequence[str], Setting], Found]:
    def found(names: Sequence[str], setting: Setting) -> Found:
        good = measured(names, setting)
        if setting.kind == kind and figure in names:
            good["figures"][figure] = {"error": "Traceback: it broke\n"}
        return good

    return found


@pytest.mark.parametrize("kind", ["ours", "stock-tso"])
def test_a_figure_that_failed_is_an_error_and_has_no_line(
    sandboxes: Sandboxes, kind: str
) -> None:
    sandboxes.found = failing(kind, "bulk")
    result = sandboxes.run("round-trip", "bulk")
    assert result.errors == [f"{kind} 10x15 userspace, bulk: Traceback: it broke"]
    assert (len(result.lines["round-trip"]), result.lines["bulk"]) == (1, [])
    assert not result.reached
    assert sandboxes.written()["errors"] == result.errors


def test_a_network_that_does_not_come_up_fails_all_its_figures(
    sandboxes: Sandboxes,
) -> None:
    sandboxes.found = lambda names, setting: (
        None if setting.kind == "stock" else measured(names, setting)
    )
    result = sandboxes.run("bring-up", "connections", "footprint")
    assert [error.partition(":")[0] for error in result.errors] == [
        "stock 10x15 userspace, bring-up",
        "stock 10x15 userspace, connections",
    ]
    assert all("did not come up; see" in error for error in result.errors)
    assert len(result.lines["footprint"]) == 2


def test_a_line_needs_one_good_repetition_and_a_good_bench_all(
    sandboxes: Sandboxes,
) -> None:
    count = iter(range(9))
    sandboxes.found = lambda names, setting: (
        None if next(count) == 0 else measured(names, setting)
    )
    result = sandboxes.run("footprint", size=replace(QUICK, repetitions=2))
    assert [line.met for line in result.lines["footprint"]] == [True, None]
    assert (len(result.errors), result.reached) == (1, False)


def test_unreliable_figures_are_written_with_their_reasons(
    sandboxes: Sandboxes,
) -> None:
    def found(names: Sequence[str], setting: Setting) -> Found:
        good = measured(names, setting)
        if "bulk" in good["figures"]:
            good["figures"]["bulk"]["load"]["stolen"] = 0.5
        return good

    sandboxes.found = found
    result = sandboxes.run("bulk", "footprint")
    assert list(sandboxes.written()["unreliable"]) == ["bulk"]
    assert (len(result.doubts["bulk"]), result.doubts["footprint"]) == (2, [])
    assert result.reached, "a doubt is no miss"


def finding(figure: str, found: Found) -> Callable[[Sequence[str], Setting], Found]:
    """The measured results, with these of that figure."""

    def odd(names: Sequence[str], setting: Setting) -> Found:
        good = measured(names, setting)
        if figure in good["figures"]:
            one = good["figures"][figure]
            one["found"] = {**one["found"], **found}
        return good

    return odd


NO_PERCENTILES = {"p50": None, "p99": None, "max": None}


@pytest.mark.parametrize(
    ("figure", "found"),
    [
        (
            "reset-latency",
            {"reset": NO_PERCENTILES, "reset_sample_ms": [], "not_reset": 9},
        ),
        ("growth", {"waves": [wave(0)]}),
        ("growth", {"waves": [wave(9, 0.9), wave(99, 0.1)]}),
        ("round-trip", {"p50": 0.0}),
    ],
)
def test_a_figure_that_cannot_be_computed_does_not_affect_the_others(
    sandboxes: Sandboxes, figure: str, found: Found
) -> None:
    """E.g. no connection was reset at all: there is no percentile to divide."""
    sandboxes.found = finding(figure, found)
    result = sandboxes.run(figure, "footprint")
    assert (len(result.lines["footprint"]), result.lines[figure]) == (2, [])
    (error,) = result.errors
    assert error.startswith(f"{figure}, userspace: no line follows: ")
    assert "Traceback" not in error
    assert not result.reached
    assert sandboxes.written()["errors"] == [error]


@pytest.mark.parametrize("raised", [KeyError, TypeError, ValueError, ZeroDivisionError])
def test_a_programming_error_in_a_figure_is_listed_with_its_traceback_and_does_not_affect_the_others(
    sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    def lines(size: Size, results: Any) -> Any:
        raise raised("of the program")

    broken = replace(FIGURES["bulk"], lines=lines)
    monkeypatch.setitem(FIGURES, "bulk", broken)
    result = sandboxes.run("bulk", "footprint")
    assert (len(result.lines["footprint"]), result.lines["bulk"]) == (2, [])
    (error,) = result.errors
    assert error.startswith("bulk, userspace: Traceback (most recent call last):\n")
    assert f"{raised.__name__}: " in error.splitlines()[-1]
    assert not result.reached
    assert sandboxes.written()["errors"] == [error]


def test_results_without_a_key_are_a_programming_error(
    sandboxes: Sandboxes,
) -> None:
    """Also in the curves, which are drawn from the same results."""
    sandboxes.found = finding("growth", {"waves": [{}]})
    result = sandboxes.run("growth", "footprint")
    assert (len(result.lines["footprint"]), result.lines["growth"]) == (2, [])
    assert [error.split("\n")[-1] for error in result.errors] == [
        "KeyError: 'moved'"
    ] * 2
    assert {error.split(",")[0] for error in result.errors} == {"curves", "growth"}
    assert sandboxes.written()["errors"] == result.errors


def test_a_job_is_complete(sandboxes: Sandboxes) -> None:
    sandboxes.run("footprint")
    (job,) = sandboxes.jobs
    setting = Setting.array("ours", QUICK)
    assert job["setting"] == asdict(setting)
    assert Size.from_json(job["size"]) == QUICK
    assert Path(job["folder"]).is_dir()
