"""Outcomes of live runs: silent connections, a client that dies, nothing captured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.commands import (
    DEADLINE_S,
    ROOT,
    eventually,
    measured,
    must,
    processes_inside,
)

pytestmark = pytest.mark.live


def test_a_moved_silent_connection_is_counted(tmp_path: Path) -> None:
    """Its client has nothing to say until, a second after it opened, its kernel sends a
    keepalive. On a machine that is slow to open them all of them may have done so: then
    it is tried again."""
    quiet = ("workload.kind=echo", "workload.interval_ms=60000")
    brief = ("steady_s=0", "observe_s=0.1")
    for attempt in range(4):
        run = tmp_path / f"run-{attempt}"
        summary = summary_of(run, "policy=drop", *quiet, *brief)
        connections, half_open = summary["connections"], summary["half_open"]
        if connections["silent"]:
            break
    assert connections["silent"] > 0
    moved = connections["moved"]
    assert moved > 0
    assert connections["spoke"] == connections["hung"] == half_open["at_end"]
    assert connections["silent"] == half_open["silent"] == moved - connections["spoke"]
    seen = summary["measurement"]
    assert seen["half_open_by_socket_tables"] == moved
    assert (seen["sockets_not_agreed"], seen["half_open_not_agreed"]) == (0, 0)
    # An echo of each connection, at the client and at its node.
    assert seen["sockets_compared"] == 2 * connections["opened"]
    assert seen["opened_by_kernel"] == connections["opened"]


def test_without_a_capture_the_claim_is_not_judged(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "run", "capture=false", "observe_s=1")
    left = {one["key"]: one["why"] for one in summary["not_judged"]}
    assert {f"claim.E{n}.passed" for n in range(1, 6)} < left.keys()
    assert {"wire_order.passed", "connections.reset"} < left.keys()
    assert set(left.values()) == {"nothing was captured (capture: false)"}
    assert summary["connections"]["spoke"] is None
    judged = {one["key"] for one in summary["expectations"]}
    assert {"connections.hung", "half_open.at_end"} < judged


def test_a_run_whose_client_died_is_untrusted(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("run", "drain-node", "--set", "observe_s=4", "--out", str(out))
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(
            (sys.executable, "-m", "experiments", *command),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        observing = lambda: "observing" in (tmp_path / "output").read_text()  # noqa: E731
        eventually("observing", observing, DEADLINE_S)
        os.kill(clients_of(run.pid)[0], signal.SIGKILL)
        assert run.wait(DEADLINE_S) == 4
    finally:
        run.kill()
        run.wait()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["outcome"], summary["as_expected"]) == ("untrusted", None)
    assert summary["measurement"]["clients_without_summary"] == 1
    assert "cannot be trusted" in (tmp_path / "output").read_text()


def summary_of(folder: Path, *settings: str) -> dict[str, Any]:
    """A node is drained; the run had to be as expected."""
    sets = [word for one in settings for word in ("--set", one)]
    must(measured(folder, "drain-node", *sets))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert summary["outcome"] == "as-expected"
    return summary


def clients_of(pid: int) -> list[int]:
    """The storage clients of the run that this process makes."""
    return processes_inside(f"run-{pid}", "nbd_client.py")
