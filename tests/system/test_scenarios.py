"""Every scenario that ships, live: what the policy promises, proven by the instruments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.commands import measured, must, resetbed
from tests.system.documented_keys import DOCUMENT, undocumented

pytestmark = pytest.mark.live


def run(folder: Path, scenario: str, *overrides: str) -> dict[str, Any]:
    """The summary of one run that had to be as expected; the documents name all its keys."""
    sets = [word for item in overrides for word in ("--set", item)]
    must(measured(folder, scenario, *sets))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert undocumented(summary, DOCUMENT.read_text()) == []
    return summary


STANDARD = (
    "scale-out-node",
    "scale-out-chassis",
    "drain-node",
    "node-failure",
    "chassis-failure",
)


#: Tables and members are the same for both: IPv6 where most moves, and where a node dies.
ON_IPV6 = "scale-out-chassis", "node-failure"


@pytest.mark.parametrize(
    ("scenario", "ip"), [*((s, 4) for s in STANDARD), *((s, 6) for s in ON_IPV6)]
)
def test_flood_frees_both_ends(scenario: str, ip: int, tmp_path: Path) -> None:
    summary = run(tmp_path / "run", scenario, f"ip={ip}", "observe_s=1.5")
    connections, packets = summary["connections"], summary["packets"]
    assert connections["moved"] > 0
    assert connections["reset"] == connections["moved"]
    assert connections["reconnected"] >= connections["moved"]
    assert summary["half_open"]["at_end"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    assert summary["data"]["lost_writes"] == 0
    assert summary["data"]["unverified_writes"] == 0
    assert connections["moved"] <= packets["node_resets"] <= packets["stray"]
    assert {row["element"]: row["passed"] for row in summary["claim"]} == {
        f"E{n}": True for n in range(1, 6)
    }, summary["claim"]
    assert summary["wire_order"]["passed"], summary["wire_order"]
    for name in files_of_a_run():
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    assert not (tmp_path / "run" / "store").exists()


@pytest.mark.kernel
def test_connections_of_a_cut_off_chassis_stay_half_open_and_are_listed(
    tmp_path: Path,
) -> None:
    """Only what was on the other chassis, or opened meanwhile and moved back, is freed."""
    summary = run(tmp_path / "run", "uplink-flap", "observe_s=1", "heal=off")
    half_open = summary["half_open"]
    assert half_open["at_end"] == half_open["out_of_reach"] > 0
    assert summary["measurement"]["half_open_by_socket_tables"] == half_open["at_end"]
    assert all(row["passed"] for row in summary["claim"]), summary["claim"]
    assert "cut off from every copy" in summary["claim"][2]["evidence"]
    assert summary["wire_order"]["passed"], summary["wire_order"]
    lines = (tmp_path / "run" / "connections.jsonl").read_text().splitlines()
    moved = [row for row in map(json.loads, lines) if row["moved"] and row["reset_s"]]
    kept = [r for r in moved if r["owner_out_of_reach"] and r["owner_freed_s"] is None]
    assert len(kept) == half_open["at_end"]
    assert {row["owner"][:2] for row in kept} == {"c2"}
    assert any(row["new_owner"][:2] == "c2" and row["owner_freed_s"] for row in moved)


def test_what_an_uplink_cut_off_is_healed_when_it_returns(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", "uplink-flap", "observe_s=2.5")
    assert summary["healing"]["on"]
    assert summary["healing"]["longest_ms"] < 1000 * (
        summary["healing"]["within_s"] + 1.0  # the uplink was down for one second
    )
    assert summary["packets"]["probes"] > 0
    assert summary["half_open"]["at_end"] == 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0


def test_a_reseed_moves_the_predicted_connections(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", "reseed", "observe_s=0.8", "ip=6")
    connections = summary["connections"]
    assert connections["reset"] == connections["moved"] > 0
    assert summary["measurement"]["half_open_by_socket_tables"] == 0
    assert summary["measurement"]["arrivals_compared"] > 0
    predicted = json.loads(must(resetbed("predict", "reseed", "--json")))
    assert (
        len(summary["balance"]["changes"]) == len(predicted["balance"]["changes"]) == 3
    )
    times = "requested_s", "applied_s", "settled_s"
    _, first, second, _ = ([event[key] for key in times] for event in summary["events"])
    assert first == second  # two chassis at one instant
    assert all(row["passed"] for row in summary["claim"]), summary["claim"]


def test_without_fan_out_every_moved_connection_stays_half_open(
    tmp_path: Path,
) -> None:
    summaries = {
        policy: run(tmp_path / policy, "drain-node", f"policy={policy}", "observe_s=1")
        for policy in ("drop", "client-only")
    }
    for policy, summary in summaries.items():
        moved = summary["connections"]["moved"]
        assert moved > 0
        assert summary["half_open"]["at_end"] == moved
        assert summary["measurement"]["half_open_by_socket_tables"] == moved
        assert summary["packets"]["tier1_copies"] == 0
        reset = moved if policy == "client-only" else 0
        assert summary["connections"]["reset"] == reset
        assert summary["connections"]["hung"] == moved - reset
    assert (
        summaries["drop"]["moved_connections"]
        == summaries["client-only"]["moved_connections"]
    )


def test_the_reference_guard_proves_the_same(tmp_path: Path) -> None:
    summary = run(
        tmp_path / "run", "drain-node", "guard=scapy", "workload.connections=12"
    )
    assert summary["provenance"]["guard"] == "scapy"
    assert summary["connections"]["reset"] == summary["connections"]["moved"] > 0
    assert summary["half_open"]["at_end"] == 0


def test_the_claim_holds_on_slow_links_and_by_weight(tmp_path: Path) -> None:
    """A rate at every host; c2 counts for more than c1, and c1n2 for two nodes of it."""
    weights = {"c2": 6.0, "c1n2": 2.0}
    options = "balancer=rendezvous", f"cluster.weights={json.dumps(weights)}"
    slow = "links.rate_mbit=50", "observe_s=1.5"
    summary = run(tmp_path / "run", "drain-node", *options, *slow)
    connections, measured = summary["connections"], summary["measurement"]
    assert connections["reset"] == connections["moved"] > 0
    assert connections["hung"] == summary["half_open"]["at_end"] == 0
    assert all(row["passed"] for row in summary["claim"]), summary["claim"]
    assert measured["owners_not_as_predicted"] == 0
    assert measured["arrivals_not_as_predicted"] == 0 < measured["arrivals_compared"]
    origin = summary["provenance"]
    assert origin["weights"] == weights
    assert origin["links"] == {
        "rate_mbit": 50.0,
        "delay_ms": None,
        "loss_percent": None,
    }
    asked = [word for each in (*options, *slow) for word in ("--set", each)]
    predicted = json.loads(must(resetbed("predict", "drain-node", *asked, "--json")))
    assert predicted["balance"] == summary["balance"]
    last = summary["observation"]["end_s"] - summary["events"][-1]["applied_s"]
    assert 1.5 <= last < 10


def test_minimal_change_moves_less(tmp_path: Path) -> None:
    """The same connections through the same event, but for the balancer."""
    workload = "workload.kind=echo", "workload.connections=300"
    options = *workload, "workload.interval_ms=200", "observe_s=1.5"
    seen = run(tmp_path, "scale-out-chassis", "balancer=rendezvous", *options)
    moved = seen["connections"]["moved"]
    asked = "scale-out-chassis", "--set", "workload.connections=300", "--json"
    predicted = json.loads(must(resetbed("predict", *asked)))
    assert 0 < moved < predicted["events"][0]["moved"]


def files_of_a_run() -> tuple[str, ...]:
    """What a run's folder holds by the contract."""
    flows = "flows/fabric.txt", "flows/c1.txt"
    traces = "capture.pcapng", "sockets.jsonl", "connections.jsonl", "hosts/h1.jsonl"
    ladder = "ladder.svg", "ladder.txt"
    return "spec.yaml", "summary.json", "events.jsonl", *traces, *ladder, *flows
