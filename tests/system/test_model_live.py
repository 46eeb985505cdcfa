"""The model held against a run that is made now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.commands import measured, must, resetbed

pytestmark = pytest.mark.live


@pytest.mark.parametrize("policy", ["directed", "second-chance"])
def test_a_run_moves_what_the_model_says(policy: str, tmp_path: Path) -> None:
    """Every connection, and the counts: also of those opened after a reset."""
    folder = tmp_path / "run"
    sets = ("--set", f"policy={policy}", "--set", "workload.kind=echo")
    must(measured(folder, "flapping-node", *sets))
    shown = must(resetbed("model", str(folder / "spec.yaml"), "--against", str(folder)))
    assert "half_open.count" in shown
