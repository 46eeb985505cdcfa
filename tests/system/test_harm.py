"""What a half-open connection holds, live: a real database, the same drain twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.commands import measured, must

pytestmark = pytest.mark.live


def drained(folder: Path, policy: str) -> dict[str, Any]:
    """The summary of one drain with that policy."""
    sets = ("workload.kind=postgres", f"policy={policy}", "workload.connections=24")
    words = [word for item in sets for word in ("--set", item)]
    must(measured(folder, "drain-node", *words))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_only_a_freed_owner_gives_a_clients_own_lock_back(tmp_path: Path) -> None:
    kept, freed = (drained(tmp_path / p, p) for p in ("client-only", "flood"))
    assert kept["moved_connections"] == freed["moved_connections"]
    for summary in (kept, freed):
        data, lock = summary["data"], summary["harm"]["own_lock"]
        assert data["acknowledged_writes"] == data["verified_writes"] > 0
        assert lock["asked"] > 0
        assert summary["measurement"]["locks_unseen_s"] < 1.0
    left = kept["half_open"]["at_end"]
    assert kept["harm"]["sessions_of_nobody"]["at_end"] == left > 0
    assert 0 < kept["harm"]["own_lock"]["still_waiting"] <= left
    assert freed["harm"]["own_lock"]["still_waiting"] == 0
    assert freed["harm"]["locks_of_nobody"]["at_end"] == 0
    assert freed["harm"]["sessions_of_nobody"]["at_end"] == 0
