"""A record judged again: the same figures, with nothing of a cluster on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.results.judge import NoRecord, judge_folder
from tests.experiments.golden_runs import FOLDER, GoldenRun

ROOT = Path(__file__).resolve().parents[2]

#: What touches a machine: modules that a cluster needs, and of ours those that use them.
MACHINES = (
    *("mininet", "os_ken", "ryu", "scapy", "pyroute2", "nbd"),
    *("topologies.network", "topologies.switches", "topologies.sandbox"),
    *("experiments.cluster", "experiments.instruments", "experiments.running"),
    *("nodes.kernel", "nodes.guard.guard_ebpf", "nodes.guard.guard_scapy"),
)
#: Imports the judge, forbids the rest, and judges the folders that it is given.
PROGRAM = f"""
import sys
from pathlib import Path

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name in {MACHINES!r} or name.startswith({tuple(m + "." for m in MACHINES)!r}):
            raise ImportError(f"{{name}} touches a machine")

sys.meta_path.insert(0, Forbidden())
from experiments.results.judge import judge_folder
for folder in sys.argv[1:]:
    print(judge_folder(Path(folder))["outcome"])
"""


NAMES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run's folder with nothing but its record in it."""
    GoldenRun.load(request.param).write(tmp_path)
    return tmp_path


def test_records_are_judged_without_any_module_of_a_cluster(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in NAMES]
    for folder in folders:
        folder.mkdir()
        GoldenRun.load(folder.name).write(folder)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = dict(zip(NAMES, done.stdout.split(), strict=True))
    assert outcomes == dict.fromkeys(NAMES, "as-expected")
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text())
        drawn = ("ladder.svg", "ladder.txt") if summary["connections"]["spoke"] else ()
        for name in ("connections.jsonl", *drawn):
            assert (folder / name).stat().st_size > 0, (folder.name, name)


def test_judged_again_the_figures_are_the_same(folder: Path) -> None:
    first = judge_folder(folder)
    assert judge_folder(folder) == first
    assert json.loads((folder / "summary.json").read_text()) == first


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoRecord, match=r"no spec.yaml; a run's folder has"):
        judge_folder(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    GoldenRun.load("drain-node").write(tmp_path)
    record = tmp_path / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"version": 99}))
    with pytest.raises(NoRecord, match="version 99, but only 1 can be read"):
        judge_folder(tmp_path)
