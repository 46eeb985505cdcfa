"""Every storage protocol, live: a node fails, and no acknowledged write is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.commands import measured, must

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("kind", "ip"), [("http", 6), ("iscsi", 4)])
def test_a_lost_node_loses_no_acknowledged_write(
    kind: str, ip: int, tmp_path: Path
) -> None:
    """``nbd`` is the default of every scenario's own test."""
    folder = tmp_path / "run"
    sets = (f"workload.kind={kind}", f"ip={ip}", "workload.connections=24")
    words = [word for item in sets for word in ("--set", item)]
    must(measured(folder, "node-failure", *words))
    summary = json.loads((folder / "summary.json").read_text())
    connections, data = summary["connections"], summary["data"]
    assert connections["opened"] == 24
    assert connections["reset"] == connections["moved"] > 0
    assert connections["broken_unmoved"] == 0
    assert data["acknowledged_writes"] == data["verified_writes"] > 0
    assert summary["half_open"]["at_end"] == 0
