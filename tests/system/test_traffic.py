"""Traffic patterns and fio on a whole cluster, live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.test_scenarios import run

pytestmark = pytest.mark.live

#: Connections of fio, one process each.
FIOS = 6


def drained(folder: Path, *overrides: str) -> dict[str, Any]:
    """A node drained under ``flood``: both ends of what moved are freed, nothing else."""
    summary = run(folder, "drain-node", *overrides)
    connections = summary["connections"]
    assert connections["reset"] == connections["moved"] > 0
    assert connections["broken_unmoved"] == 0
    assert summary["half_open"]["at_end"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    assert summary["data"]["lost_writes"] == summary["data"]["unverified_writes"] == 0
    return summary


def test_a_reused_port_is_neither_killed_by_a_late_copy_nor_half_open(
    tmp_path: Path,
) -> None:
    reuse = ("workload.pattern=port-reuse", "observe_s=0.8")
    summary = drained(tmp_path / "run", *reuse)
    connections = summary["connections"]
    # Each was reset once: had a copy killed a new connection, there were more resets.
    assert connections["reconnected"] == connections["moved"]
    rows = [
        json.loads(line)
        for line in (tmp_path / "run" / "connections.jsonl").read_text().splitlines()
    ]
    moved = [row for row in rows if row["moved"]]
    for row in moved:
        (again,) = [
            other
            for other in rows
            if other["connection"] == row["connection"] and not other["moved"]
        ]
        assert again["owner"] == row["new_owner"]
        assert (again["reset_s"], again["owner_freed_s"]) == (None, None)


def test_fio_verifies_its_data_and_starts_again(tmp_path: Path) -> None:
    load = ("workload.kind=fio", f"workload.connections={FIOS}", "seed=3")
    summary = drained(tmp_path / "run", *load)
    fio, data = summary["fio"], summary["data"]
    moved = summary["connections"]["moved"]
    assert summary["measurement"]["owners_not_as_predicted"] == 0
    assert data["acknowledged_writes"] == data["verified_writes"] == fio["writes"] > 0
    assert (fio["errors"], fio["wrong_blocks"]) == (moved, 0)
    assert fio["jobs"] == FIOS + moved
    assert fio["iops"] > 0 and fio["write_latency_ms"]["p99"] > 0
    for host in ("h1", "h2"):
        kept = json.loads((tmp_path / "run/hosts" / f"{host}-fio.json").read_text())
        assert kept["jobs"][0]["fio"]["fio version"].startswith("fio-")
