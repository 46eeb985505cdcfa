"""The size of a real array: ten chassis of fifteen nodes pass the same checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.test_scenarios import run

pytestmark = pytest.mark.live

JOINS = """
cluster: {chassis: 9, nodes: 15, clients: 4}
workload: {kind: echo, connections: 200, interval_ms: 100}
events:
  - {kind: add-chassis, target: c10}
observe_s: 3
"""


def test_the_tenth_chassis_of_fifteen_nodes_joins(tmp_path: Path) -> None:
    spec = tmp_path / "joins.yaml"
    spec.write_text(JOINS)
    summary = run(tmp_path / "run", str(spec))
    connections, packets = summary["connections"], summary["packets"]
    assert connections["reset"] == connections["moved"] > 150
    assert summary["half_open"]["at_end"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    assert packets["tier1_copies"] == 10 * packets["node_resets"]
    assert packets["tier2_copies"] == 15 * packets["tier1_copies"]
    assert all(row["passed"] for row in summary["claim"]), summary["claim"]
