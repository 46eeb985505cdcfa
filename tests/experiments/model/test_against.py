"""The model beside the records of real runs, and what must be seen if one is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from experiments.model import routes as routes_module
from experiments.model.against import BOUNDS, Bound, agreement
from experiments.model.model_spec import ModelSpec
from experiments.report.report import write_report
from experiments.results.judge import judge_folder
from experiments.results.run_folder import RunFolder
from experiments.spec.spec_file import SpecError
from tests.experiments.golden_runs import FOLDER, GoldenRun

NAMES = sorted(path.name for path in FOLDER.iterdir())
#: How many connections move in both, at least; so that the comparison is of something.
LEAST_MOVED = 5


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a golden run, judged; made once."""
    base = tmp_path_factory.mktemp("golden")

    def folder(name: str) -> Path:
        if not (base / name).exists():
            (base / name).mkdir()
            GoldenRun.load(name).write(base / name)
            judge_folder(base / name)
        return base / name

    return folder


def spec_of(run: RunFolder) -> ModelSpec:
    return ModelSpec.model_validate(run.spec.model_dump())


@pytest.mark.parametrize("name", NAMES)
def test_the_model_agrees_with_the_run(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    """The same connections moved, each; and the counts are within their bounds."""
    run = RunFolder.read(folder_of(name))
    found = agreement(spec_of(run), run)
    assert found.differ == []
    assert [line for line in found.lines if not line.agrees] == []
    assert found.compared + found.between == len(run.connections)
    by_key = {line.key: line for line in found.lines}
    assert set(by_key) == set(BOUNDS)
    assert by_key["connections.moved"].computed >= LEAST_MOVED


@pytest.mark.parametrize("name", ["drain-node", "rolling-upgrade", "uplink-flap"])
def test_another_hash_is_seen(
    name: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.read(folder_of(name))
    build = routes_module.Routes._build

    def with_another_basis(self: routes_module.Routes, *given: object) -> None:
        build(self, *given)  # type: ignore[arg-type]
        self._basis = self._basis + 2

    monkeypatch.setattr(routes_module.Routes, "_build", with_another_basis)
    assert not agreement(spec_of(run), run).holds


def test_a_connection_too_many_is_seen(folder_of: Callable[[str], Path]) -> None:
    run = RunFolder.read(folder_of("drain-node"))
    rows = [dict(row) for row in run.connections]
    stayed = next(row for row in rows if not row["moved"])
    stayed["moved"] = True
    found = agreement(spec_of(run), replace(run, connections=rows))
    assert list(found.differ) == [stayed["connection"]]
    assert not found.holds


def test_a_run_of_another_spec_is_refused(folder_of: Callable[[str], Path]) -> None:
    run = RunFolder.read(folder_of("drain-node"))
    other = spec_of(run).model_copy(update={"seed": 7})
    with pytest.raises(SpecError, match="another seed: 1"):
        agreement(other, run)


@pytest.mark.parametrize(
    ("computed", "measured", "begun", "holds"),
    [
        (0, 2, 0, True),
        (0, 3, 0, False),
        (95, 100, 0, True),
        (94, 100, 0, False),
        (94, 100, 1, True),
    ],
)
def test_a_bound_is_a_share_and_a_few(
    computed: float, measured: float, begun: int, holds: bool
) -> None:
    assert Bound(0.05, 2, 1).holds(computed, measured, begun) is holds


def test_the_command_compares(folder_of: Callable[[str], Path]) -> None:
    folder = str(folder_of("scale-out-node"))
    words = ["model", f"{folder}/spec.yaml", "--against", folder]
    shown = CliRunner().invoke(main, words)
    assert (shown.exit_code, "half_open.count" in shown.stdout) == (0, True)
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert found["holds"] is True
    assert json.loads((Path(folder) / "agreement.json").read_text()) == found
    page = write_report(Path(folder)).read_text("utf-8")
    assert "Model and measurement" in page
    assert f"Of {found['connections_compared']} connections, 0 moved in one" in page
    refused = CliRunner().invoke(main, ["model", "drain-node", "--against", folder])
    assert refused.exit_code == 2
    assert "give the run's own" in refused.output


def test_each_run_of_a_folder_is_compared_and_shown_in_one_report(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("drain-node", "drop"):
        shutil.copytree(folder_of(name), tmp_path / name)
    result = CliRunner().invoke(main, ["model", "each", "--against", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "2 of 2 runs agree" in result.stdout
    found = json.loads((tmp_path / "drop" / "agreement.json").read_text())
    # One that is out of its bounds is seen in the report.
    found["figures"][0] |= {"measured": 99, "agrees": False}
    found["holds"] = False
    (tmp_path / "drop" / "agreement.json").write_text(json.dumps(found))
    page = write_report(tmp_path).read_text("utf-8")
    assert "1 of 2 runs agree" in page
    assert "/ 99" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "takes --against"), (("--against", "tests"), "no run that can be trusted")],
)
def test_each_without_runs_is_refused(words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(main, ["model", "each", *words])
    assert (result.exit_code, message in result.output) == (2, True)
