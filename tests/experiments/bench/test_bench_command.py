"""The command ``bench``: its options, what it measures of them, and its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench import command
from experiments.bench.basis.figure import Line
from experiments.bench.basis.size import FULL, QUICK, Size
from experiments.bench.bench import BenchResult
from experiments.bench.command import BenchError
from experiments.bench.figures import FIGURES
from experiments.commands.cli import main
from topologies.datapaths import KERNEL, USERSPACE, Datapath, DatapathMissing, choose

GOOD = Line("it", "s", 1.0, bound="≤ 2", met=True, datapath=USERSPACE)
MISSED = replace(GOOD, met=False)
OPEN = replace(GOOD, met=None, bound="")


def outcome(*lines: Line, errors: Sequence[str] = ()) -> BenchResult:
    return BenchResult({"bulk": lines}, {"bulk": ()}, errors, {})


@dataclass
class Bench:
    """The command on a machine that measures nothing and has these datapaths."""

    folder: Path
    result: BenchResult = field(default_factory=lambda: outcome(GOOD))
    has: Sequence[str] = (KERNEL, USERSPACE)
    asked: list[tuple[Size, Path, Sequence[str], Sequence[str]]] = field(
        default_factory=list
    )

    def run_bench(self, *asked: Any) -> BenchResult:
        self.asked.append(asked)
        return self.result

    def find_datapath(self, asked: str = "auto") -> Datapath:
        return choose(
            asked,
            {k: None if k in self.has else "gone" for k in (KERNEL, USERSPACE)},
        )

    def __call__(self, *options: str) -> Result:
        return CliRunner().invoke(main, ["bench", f"--out={self.folder}", *options])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path / "out")
    monkeypatch.setattr(command, "run_bench", made.run_bench)
    monkeypatch.setattr(command, "find_datapath", made.find_datapath)
    return made


def test_by_default_everything_is_measured(bench: Bench) -> None:
    assert bench().exit_code == 0
    assert bench.asked == [(FULL, bench.folder, list(FIGURES), [KERNEL, USERSPACE])]


def test_options_choose_size_figures_and_datapath(bench: Bench) -> None:
    bench("--quick", "--only=growth,bulk", "--datapath=userspace")
    assert bench.asked == [(QUICK, bench.folder, ["bulk", "growth"], [USERSPACE])]


@given(
    st.sets(st.sampled_from(list(FIGURES)), min_size=1).flatmap(
        lambda names: st.permutations(sorted(names))
    )
)
def test_figures_keep_their_order_whatever_was_asked(names: list[str]) -> None:
    chosen = command._chosen(",".join(names))
    assert set(chosen) == set(names)
    assert list(chosen) == sorted(chosen, key=list(FIGURES).index)


def test_a_figure_named_twice_is_measured_once() -> None:
    assert command._chosen("bulk,bulk") == ["bulk"]


@pytest.mark.parametrize("only", ["bulky", "bulk,", "bulk,bulky", "Bulk", " bulk"])
def test_an_unknown_figure_is_refused_and_the_known_ones_named(only: str) -> None:
    with pytest.raises(BenchError) as refused:
        command._chosen(only)
    assert str(refused.value).startswith("no figure '")
    assert all(name in str(refused.value) for name in FIGURES)


def test_a_refused_command_measures_nothing_and_makes_no_folder(bench: Bench) -> None:
    refused = bench("--only=bulky")
    assert refused.exit_code == 2
    assert "no figure 'bulky'" in refused.output
    assert (bench.asked, bench.folder.exists()) == ([], False)


@pytest.mark.parametrize("has", [[KERNEL], [USERSPACE], [KERNEL, USERSPACE]])
def test_all_means_the_datapaths_that_the_machine_has(
    bench: Bench, has: list[str]
) -> None:
    bench.has = has
    shown = bench()
    assert [asked[3] for asked in bench.asked] == [has]
    assert f"datapaths: {', '.join(has)}" in shown.output


def test_a_machine_without_any_says_what_is_missing(bench: Bench) -> None:
    bench.has = []
    with pytest.raises(DatapathMissing, match="no datapath: gone; gone"):
        command.launch_bench(True, bench.folder, None, "all")
    assert bench().exit_code not in (0, 1)
    assert (bench.asked, bench.folder.exists()) == ([], False)


@pytest.mark.parametrize("asked", [KERNEL, USERSPACE])
def test_a_requested_datapath_is_not_replaced_by_another(
    bench: Bench, asked: str
) -> None:
    bench.has = [one for one in (KERNEL, USERSPACE) if one != asked]
    with pytest.raises(DatapathMissing, match=f"datapath {asked}: gone"):
        command.launch_bench(True, bench.folder, None, asked)
    assert bench.asked == []


def test_an_unknown_datapath_is_refused(bench: Bench) -> None:
    assert bench("--datapath=auto").exit_code == 2
    assert bench.asked == []


def test_results_of_another_run_are_not_overwritten(bench: Bench) -> None:
    bench.folder.mkdir()
    (bench.folder / "bench.json").write_text("{}")
    refused = bench()
    assert refused.exit_code == 2
    assert "not an empty folder" in refused.output
    assert bench.asked == []


def test_without_a_folder_it_is_named_after_size_and_time(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.launch_bench(True, None, None, "all") == 0
    ((_, folder, _, _),) = bench.asked
    assert folder.parent == (tmp_path / "results").resolve()
    assert folder.name.startswith("bench-quick-2")
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (outcome(), 0),
        (outcome(GOOD, OPEN), 0),
        (outcome(OPEN), 0),
        (outcome(GOOD, MISSED), 1),
        (outcome(GOOD, errors=["it did not come up"]), 1),
        (outcome(errors=["it did not come up"]), 1),
    ],
)
def test_the_exit_status_says_whether_everything_is_reached(
    bench: Bench, result: BenchResult, status: int
) -> None:
    bench.result = result
    shown = bench()
    assert shown.exit_code == status
    assert shown.output.rstrip().endswith(bench.folder.name)
    assert all(error in shown.output for error in result.errors)


def test_an_unreliable_figure_is_reported_and_does_not_change_the_exit_status(
    bench: Bench,
) -> None:
    bench.result = replace(outcome(GOOD), doubts={"bulk": ["it was busy"]})
    shown = bench()
    assert shown.exit_code == 0
    assert "unreliable bulk: it was busy" in shown.output


def test_one_miss_in_any_figure_is_a_miss() -> None:
    lines = {"bulk": [GOOD], "growth": [GOOD, MISSED], "beyond": [GOOD]}
    result = BenchResult(lines, dict.fromkeys(lines, ()), (), {})
    assert not result.reached
    assert replace(result, lines={**lines, "growth": [GOOD]}).reached
