"""A run's folder read back: when its observation ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.results.run_folder import RunFolder
from tests.experiments.run_folders import END_S, moved, write_run


@pytest.mark.parametrize("said", [True, False], ids=["said", "from before it was said"])
def test_what_is_still_half_open_lasts_until_the_end(
    said: bool, tmp_path: Path
) -> None:
    rows = [moved(1, reset=True, freed_ms=None), moved(2, reset=True, freed_ms=3.0)]
    path = write_run(tmp_path / "run", "client-only", rows)
    summary = json.loads((path / "summary.json").read_text())
    end_s = END_S + 5 if said else END_S
    if said:
        summary["observation"] = {"steady_s": 0.0, "end_s": end_s}
        (path / "summary.json").write_text(json.dumps(summary))
    kept, freed = RunFolder.read(path).rows
    assert kept.half_open is not None
    assert freed.half_open is not None
    assert kept.half_open.censored
    assert kept.half_open.end_s == pytest.approx(end_s)
    assert freed.half_open.lifetime_ms == pytest.approx(3.0, abs=0.01)
