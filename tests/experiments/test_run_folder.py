"""A run's folder read back: the analysis of each connection, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.results.run_folder import RunFolder
from tests.experiments.run_folders import END_S, connection, moved, write_run


def test_half_open_times_are_those_of_the_analysis(tmp_path: Path) -> None:
    rows = [
        moved(1, reset=True, freed_ms=None),
        moved(2, reset=True, freed_ms=3.0),
        connection(3, "c1n1"),
    ]
    path = write_run(tmp_path / "run", "client-only", rows)
    kept, freed, unmoved = RunFolder.read(path).rows
    assert kept.half_open is not None
    assert freed.half_open is not None
    assert kept.half_open.censored
    assert kept.half_open.end_s == pytest.approx(END_S)
    assert freed.half_open.lifetime_ms == pytest.approx(3.0, abs=0.01)
    assert unmoved.half_open is None


def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", "client-only", [connection(3, "c1n1")])
    lines = (path / "connections.jsonl").read_text().splitlines()
    old = [
        {k: v for k, v in json.loads(one).items() if k != "half_open_s"}
        for one in lines
    ]
    (path / "connections.jsonl").write_text("".join(json.dumps(o) + "\n" for o in old))
    with pytest.raises(ValueError, match="analyse it again"):
        RunFolder.read(path)
