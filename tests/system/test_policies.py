"""Each further reset policy, live, on a planned event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.test_scenarios import run

pytestmark = pytest.mark.live

#: Nodes of the scenario's cluster, all alive.
NODES = 6


def summary_of(folder: Path, policy: str, *overrides: str) -> dict[str, Any]:
    """A node drained under that policy."""
    settings = (f"policy={policy}", "observe_s=1", *overrides)
    return run(folder / "run", "drain-node", *settings)


# Each is walked in both IP versions without a switch (tests/controller); live, one does.
@pytest.mark.parametrize(
    ("policy", "ip"),
    [
        ("flood-others", 4),
        ("directed", 6),
        ("out-of-band", 4),
        ("proactive", 6),
        ("ctdb", 4),
    ],
)
def test_both_ends_of_every_moved_connection_are_freed(
    policy: str, ip: int, tmp_path: Path
) -> None:
    summary = summary_of(tmp_path, policy, f"ip={ip}")
    connections = summary["connections"]
    assert connections["reset"] == connections["moved"] > 0
    assert summary["half_open"]["at_end"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    packets, resets = summary["packets"], summary["packets"]["node_resets"]
    copies = packets["tier1_copies"], packets["tier2_copies"]
    if policy == "flood-others":
        assert copies == (2 * resets, (NODES - 1) * resets)
        assert all(row["passed"] for row in summary["claim"]), summary["claim"]
    if policy == "directed":
        assert copies[0] == resets
        assert resets <= copies[1] <= 2 * resets
    if policy == "out-of-band":
        assert copies == (0, NODES * resets)
    if policy in ("proactive", "ctdb"):
        assert copies == (0, 0)
        assert packets["proactive_resets"] == connections["moved"]


def test_proactive_frees_idle_connections_too(tmp_path: Path) -> None:
    idle = ("workload.kind=echo", "workload.interval_ms=60000")
    summary = summary_of(tmp_path, "proactive", *idle)
    assert summary["connections"]["reset"] == summary["connections"]["moved"] > 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0


@pytest.mark.parametrize(("ip", "guard"), [(4, "ebpf"), (6, "scapy")])
def test_a_second_chance_breaks_no_connection(
    ip: int, guard: str, tmp_path: Path
) -> None:
    few = ("workload.connections=12", f"guard={guard}", f"ip={ip}", "observe_s=4")
    summary = summary_of(tmp_path, "second-chance", *few)
    connections, packets = summary["connections"], summary["packets"]
    assert connections["moved"] > 0
    assert connections["reset"] == connections["reconnected"] == 0
    assert packets["passed_on"] == packets["stray"] > 0
    assert packets["node_resets"] == 0
    assert summary["data"]["lost_writes"] == 0


@pytest.mark.parametrize(("ip", "guard"), [(4, "scapy"), (6, "ebpf")])
def test_second_chances_outlive_several_events(
    ip: int, guard: str, tmp_path: Path
) -> None:
    """Owners are up to four changes back, in other chassis too."""
    events = ", ".join(
        f"{{at: {at}, kind: {kind}, target: {target}}}"
        for at, kind, target in (
            (0.0, "drain-node", "c1n2"),
            (0.3, "reseed", "fabric"),
            (0.6, "drain-node", "c2n1"),
            (0.9, "reseed", "all"),
        )
    )
    few = ("workload.connections=12", f"guard={guard}", f"ip={ip}", "observe_s=4")
    summary = summary_of(tmp_path, "second-chance", *few, f"events=[{events}]")
    connections, packets = summary["connections"], summary["packets"]
    assert connections["moved"] > 0
    assert connections["reset"] == connections["reconnected"] == 0
    assert packets["passed_on"] == packets["stray"] > 0
    assert summary["data"]["lost_writes"] == 0


@pytest.mark.parametrize("ip", [4], ids=["IPv4"])
def test_stateful_breaks_no_connection_and_reports_its_cost(
    ip: int, tmp_path: Path
) -> None:
    summary = summary_of(tmp_path, "stateful", f"ip={ip}")
    connections = summary["connections"]
    assert connections["moved"] > 0
    assert connections["reset"] == connections["reconnected"] == 0
    assert summary["packets"]["stray"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    pins = summary["pins"]
    assert pins["entries"]["fabric"] == connections["opened"]
    assert pins["entries"]["c1"] + pins["entries"]["c2"] == connections["opened"]
    assert all(rss > 0 for rss in pins["rss_kib"].values())


def test_jet_pins_the_few_that_a_new_node_takes_and_breaks_none(tmp_path: Path) -> None:
    grown = "events=[{kind: add-node, target: c1n4}]"
    balancer = "balancer=anchor", "cluster.buckets=512"
    summary = summary_of(tmp_path, "jet", grown, *balancer)
    connections, pins = summary["connections"], summary["pins"]["entries"]
    assert connections["moved"] > 0
    assert connections["reset"] == connections["reconnected"] == 0
    assert summary["packets"]["stray"] == 0
    assert connections["moved"] <= pins["fabric"] + pins["c1"] + pins["c2"]
    assert pins["fabric"] < connections["opened"]
    assert pins["c1"] + pins["c2"] < connections["opened"]


def test_a_full_table_of_pins_forgets_the_least_recently_used(tmp_path: Path) -> None:
    """Too small for all: the switches stay within it, and who is forgotten is reset."""
    summary = summary_of(tmp_path, "stateful", "cluster.pins=4")
    pins = summary["pins"]["entries"]
    assert pins["fabric"] == 4
    assert max(pins.values()) == 4
    connections = summary["connections"]
    assert 0 < connections["reset"] <= connections["moved"]
