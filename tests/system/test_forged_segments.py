"""Forged segments of every kind against live connections: none ends, none is amplified.

``RESETBED_FORGERIES`` is the number of frames for each IP version (a nightly run has a
million; CONTRIBUTING.md), ``RESETBED_FORGERIES_GUARD`` the guard. docs/attacks.md has the
figures.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.cluster import fan_out_budget
from tests.system.attack.forged_segments import KINDS
from topologies.sandbox import enter

pytestmark = pytest.mark.live

FORGERIES = int(os.environ.get("RESETBED_FORGERIES", "10000"))
GUARD = os.environ.get("RESETBED_FORGERIES_GUARD", "auto")
#: Copies a second, and at once. Few frames need a small budget, or they would not spend it.
COPIES = (
    (fan_out_budget.COPIES_PER_S, fan_out_budget.COPIES_AT_ONCE)
    if FORGERIES >= 200_000
    else (2_000, 4_000)
)
#: Every kind is among so many frames, but for one run in a million.
ENOUGH = 1000


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of one attack."""
    result = tmp_path_factory.mktemp("attack") / "seen.json"
    job = {"count": FORGERIES, "seed": 1, "guard": GUARD, "copies": COPIES}
    job["result"] = str(result)
    argv = [sys.executable, "-m", "tests.system.attack.attack_job", json.dumps(job)]
    assert enter(argv, f"attack-{os.getpid()}") == 0
    found: dict[str, Any] = json.loads(Path(result).read_text())
    print(json.dumps(found))
    return found


def test_every_kind_was_sent(seen: dict[str, Any]) -> None:
    assert FORGERIES >= ENOUGH
    assert set(seen["versions"]) == {"4", "6"}
    for version in seen["versions"].values():
        assert sum(version["sent"].values()) == FORGERIES
        assert set(version["sent"]) == {kind.name for kind in KINDS}


def test_no_connection_ended(seen: dict[str, Any]) -> None:
    """By the sockets of nodes and client, and by the word of the client's programs."""
    assert seen["held_before"] == seen["connections"] == seen["client_sockets"]
    assert seen["killed"] == []
    assert seen["clients"] == [["ready"]] * 4
    assert seen["counters"]["copies_accepted"] == 0
    assert seen["counters"]["relays_accepted"] == 0
    assert seen["faults"] == []


def test_no_number_was_right_by_chance(seen: dict[str, Any]) -> None:
    """Odd distances miss because every connection counts even numbers of octets."""
    assert seen["odd"] == 0


def test_the_data_are_right(seen: dict[str, Any]) -> None:
    for client in seen["ended"]:
        summary = client["summary"]
        assert summary["acknowledged_writes"] > 0
        assert summary["verified_writes"] == summary["acknowledged_writes"]
        assert summary["lost_writes"] == summary["hung"] == summary["errors"] == 0


def test_nothing_is_amplified_beyond_the_budget(seen: dict[str, Any]) -> None:
    """Copies, by the switches' own counters. And a frame draws one answer at most."""
    for version in seen["versions"].values():
        assert 0 < version["copies"] <= version["allowed"]
        strays = sum(n for kind, n in version["sent"].items() if "stray" in kind)
        assert 0 < version["answers"] <= strays
    for limited in ("resets_limited", "relays_limited"):
        assert seen["counters"][limited] > 0


def test_what_nobody_can_read_is_dropped(seen: dict[str, Any]) -> None:
    assert seen["counters"]["unreadable"] > 0


def test_a_connection_that_ends_is_seen(seen: dict[str, Any]) -> None:
    """After the attack one exact reset was sent, which TCP has to accept."""
    assert seen["killed_by_hit"] == [seen["hit"]]
    resets = [client["summary"]["resets"] for client in seen["ended"]]
    assert sorted(resets) == [0, 0, 0, 1]
