"""What a half-open connection holds, live: a real database, the same drain twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.commands import measured, must

pytestmark = pytest.mark.live


def ran(folder: Path, scenario: str, kind: str, *sets: str) -> dict[str, Any]:
    """The summary of one run with that workload."""
    sets = (f"workload.kind={kind}", "workload.connections=24", *sets)
    words = [word for item in sets for word in ("--set", item)]
    must(measured(folder, scenario, *words))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_only_a_freed_owner_gives_a_clients_own_lock_back(tmp_path: Path) -> None:
    kept, freed = (
        ran(tmp_path / p, "drain-node", "postgres", f"policy={p}")
        for p in ("client-only", "flood")
    )
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


def test_tuned_servers_find_their_dead_clients_each_by_its_own_timer(
    tmp_path: Path,
) -> None:
    """What was acknowledged ends by keepalive, after 1 + 2 x 1 s; what was not, by
    TCP_USER_TIMEOUT, after 2 s. Neither ends the other's.

    A client acknowledges with its next request, which goes astray, if it comes within
    40 ms (delayed ACK).
    """
    keepalive = ("keepalive_s=1", "keepalive_interval_s=1", "keepalive_probes=2")
    for settings, pause_ms, least_ms in (
        (keepalive, 250, 2500),
        (("user_timeout_s=2",), 10, 1900),
    ):
        sets = [f"servers.{each}" for each in settings]
        sets += ["observe_s=5", f"workload.interval_ms={pause_ms}"]
        summary = ran(
            *(tmp_path / str(pause_ms), "drain-node", "postgres"),
            *("policy=client-only", *sets),
        )
        half_open, lock = summary["half_open"], summary["harm"]["own_lock"]
        assert half_open["at_end"] < half_open["count"] / 2
        assert half_open["lifetime_ms"]["p50"] > least_ms
        assert lock["granted"] > lock["still_waiting"]


def test_only_a_freed_smbd_gives_up_the_lock_of_a_file(tmp_path: Path) -> None:
    """Nodes that share the files alone. No session ends a lock but the one that has it."""
    kept, freed = (
        ran(tmp_path / p, "drain-node", "smb", f"policy={p}", "cluster.nodes=2")
        for p in ("client-only", "flood")
    )
    assert kept["moved_connections"] == freed["moved_connections"]
    for summary in (kept, freed):
        data, lock = summary["data"], summary["harm"]["own_lock"]
        assert data["acknowledged_writes"] == data["verified_writes"] > 0
        assert lock["asked"] > 0
    left = kept["half_open"]["at_end"]
    assert kept["harm"]["sessions_of_nobody"]["at_end"] == left > 0
    assert kept["harm"]["locks_of_nobody"]["at_end"] > 0
    assert kept["harm"]["own_lock"]["still_waiting"] > 0
    assert freed["harm"]["own_lock"]["still_waiting"] == 0
    assert freed["harm"]["locks_of_nobody"]["at_end"] == 0
    assert freed["harm"]["sessions_of_nobody"]["at_end"] == 0


def test_nodes_with_shared_databases_end_the_session_that_a_client_names(
    tmp_path: Path,
) -> None:
    """Also where its owner is not freed: the lock comes back, the connection stays."""
    summary = ran(tmp_path, "drain-node", "smb-durable", "policy=client-only")
    data, harm = summary["data"], summary["harm"]
    assert data["acknowledged_writes"] == data["verified_writes"] > 0
    assert harm["own_lock"]["granted"] == harm["own_lock"]["asked"] > 0
    assert harm["locks_of_nobody"]["at_end"] == 0
    left = summary["half_open"]["at_end"]
    assert harm["sessions_of_nobody"]["at_end"] == left > 0


def test_a_reservation_ends_with_its_owners_connection(tmp_path: Path) -> None:
    kept, freed = (
        ran(
            *(tmp_path / policy, "scale-out-node", "iscsi-reserve"),
            *(f"policy={policy}", "cluster.nodes=1", "workload.connections=48"),
        )
        for policy in ("client-only", "flood")
    )
    assert kept["moved_connections"] == freed["moved_connections"]
    for summary in (kept, freed):
        data, lock = summary["data"], summary["harm"]["own_lock"]
        assert data["acknowledged_writes"] == data["verified_writes"] > 0
        assert lock["asked"] == summary["connections"]["reconnected"] > 0
    left = kept["half_open"]["at_end"]
    assert kept["harm"]["sessions_of_nobody"]["at_end"] == left > 0
    assert kept["harm"]["locks_of_nobody"]["at_end"] > 0
    # Only who comes back to the node where it was is kept out: each target has its own.
    waiting, granted = (
        kept["harm"]["own_lock"][k] for k in ("still_waiting", "granted")
    )
    assert waiting > 0 and granted > 0
    assert freed["harm"]["own_lock"]["still_waiting"] == 0
    assert freed["harm"]["locks_of_nobody"]["at_end"] == 0


def test_a_lease_outlives_its_connection_and_ends_by_itself(tmp_path: Path) -> None:
    sets = ("policy=flood", "observe_s=6", "ip=6")
    summary = ran(tmp_path / "run", "drain-node", "nfs-short", *sets)
    harm, data = summary["harm"], summary["data"]
    assert data["acknowledged_writes"] == data["verified_writes"] > 0
    assert summary["half_open"]["at_end"] == 0
    assert harm["sessions_of_nobody"]["at_end"] == 0
    assert harm["locks_of_nobody"]["held_s"] > harm["sessions_of_nobody"]["held_s"] + 1
    assert harm["locks_of_nobody"]["at_end"] == harm["own_lock"]["still_waiting"] == 0
    assert harm["own_lock"]["wait_ms"]["max"] > 1000
