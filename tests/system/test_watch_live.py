"""``watch`` on real clusters: what it shows of an event, of a death, of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import ROOT, Background, eventually, must, resetbed
from tests.system.held_connections import HeldConnections
from topologies.domain.plan import VIP4
from topologies.sandbox import find_run

pytestmark = pytest.mark.live

HELD = 40
View = dict[str, Any]


class Watcher:
    """``./resetbed watch`` in the background, and the lines that it has printed."""

    def __init__(self, name: str, *options: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments", "watch", "--name", name, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, what: str, holds: Callable[[View], object]) -> View:
        """The first view from now on, or the newest one, for which that holds."""
        begin = max(0, len(self.lines) - 1)

        def look() -> View | None:
            views = map(json.loads, self.lines[begin:])
            return next((view for view in views if _holds(view, holds)), None)

        view: View = eventually(what, look)
        return view

    def address(self) -> str:
        """What a watcher without options has printed."""
        return str(
            eventually("an address", lambda: self.lines and self.lines[0])
        ).strip()

    def interrupted(self) -> tuple[int, str]:
        """Ctrl-C; its exit status and its standard error."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(20)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def kill(self) -> None:
        """Ends it, if it runs."""
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)


def _holds(view: View, holds: Callable[[View], object]) -> bool:
    """Of a view without a cluster most predicates cannot be asked."""
    try:
        return bool(holds(view))
    except KeyError:
        return False


@pytest.fixture
def cluster() -> Iterator[Background]:
    """Without healing, nothing frees a moved connection before its client speaks."""
    cluster = Background.up("watched", "--workload", "echo", "--heal", "off")
    yield cluster
    cluster.down()


@pytest.fixture
def watcher(cluster: Background) -> Iterator[Watcher]:
    watcher = Watcher(cluster.name, "--json")
    yield watcher
    watcher.kill()


# Kernels report a node's new socket in different ways (docs/measurement.md).
@pytest.mark.kernel
def test_a_drain_is_seen_from_the_move_to_the_last_freed_owner(
    cluster: Background, watcher: Watcher
) -> None:
    held = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, HELD)
    try:
        before = watcher.until(
            "all connections are seen",
            lambda v: (
                v["totals"]["established"] == HELD == v["clients"][0]["established"]
            ),
        )
        shown = {
            n["name"]: n["established"] for n in before["nodes"] if n["established"]
        }
        assert shown == cluster.established()
        cluster.event("drain-node", "c1n1")
        moved = watcher.until("moved ones", lambda v: v["events"])["events"][0]["moved"]
        assert moved > 0
        watcher.until("they are held", lambda v: v["totals"]["moved"] == moved)
        assert int(held.order("echo")) == HELD - moved
        copies = 2 * moved, 6 * moved  # to each chassis, to each node
        after = watcher.until(
            "all owners are freed, and resets and copies are counted",
            lambda v: (
                v["totals"]["resets"] == moved
                and v["totals"]["moved"] == v["totals"]["half_open"] == 0
                and v["clients"][0]["resets"] == moved
                and v["totals"]["tier1_copies"] == copies[0]
                and v["totals"]["tier2_copies"] == copies[1]
            ),
        )
        status = cluster.status()
        assert after["totals"]["strays"] == status["counters"]["stray"]
        assert cluster.copies() == copies
        assert after["totals"]["established"] == HELD - moved
        assert after["latest_reset"]["owner_freed_ms"] is not None
        assert after["latest_reset"]["new_node"] != after["latest_reset"]["owner"]
    finally:
        held.kill()
    watcher.until("the client is gone", lambda v: v["totals"]["established"] == 0)


def test_a_client_without_a_socket_leaves_half_open_connections() -> None:
    """Under ``client-only`` nobody tells the owners."""
    cluster = Background.up("unheard", "--workload", "echo", "--reset", "client-only")
    watcher = Watcher(cluster.name, "--json")
    try:
        held = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, HELD)
        watcher.until("all are seen", lambda v: v["totals"]["established"] == HELD)
        cluster.event("drain-node", "c1n1")
        moved = watcher.until("moved ones", lambda v: v["events"])["events"][0]["moved"]
        held.order("echo")
        view = watcher.until("half open", lambda v: v["totals"]["half_open"] == moved)
        assert view["totals"]["tier2_copies"] == 0
        watcher.until(
            "their owners are still holding",
            lambda v: v["latest_reset"] and v["latest_reset"]["owner_freed_ms"] is None,
        )
        held.kill()
    finally:
        watcher.kill()
        cluster.down()


def test_a_cluster_that_is_killed_is_gone_and_comes_back(
    cluster: Background, watcher: Watcher
) -> None:
    watcher.until("it runs", lambda v: v["phase"] == "up")
    os.kill(find_run(cluster.name).init.pid, signal.SIGKILL)
    absent = watcher.until("it is gone", lambda v: v["phase"] == "absent")
    assert f"./resetbed up --name {cluster.name}" in absent["message"]
    must(resetbed("up", "--name", cluster.name, "--workload", "echo", "--chassis", "1"))
    back = watcher.until("it is back", lambda v: v["phase"] == "up")
    assert len(back["chassis"]) == 1 and back["totals"]["established"] == 0
    held = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, HELD)
    watcher.until("new ones", lambda v: v["totals"]["established"] == HELD)
    held.kill()
    assert watcher.interrupted() == (0, "")


def test_a_page_causes_an_event_and_others_see_it(
    cluster: Background, watcher: Watcher
) -> None:
    watcher.until("it runs", lambda v: v["phase"] == "up")
    server = Watcher(cluster.name)
    try:
        address = server.address()
        origin = address.partition("/?")[0]
        with httpx.Client(base_url=origin, headers={"Origin": origin}) as page:
            assert page.get("/").status_code == 403
            assert page.get(address, follow_redirects=True).status_code == 200
            with page.stream("GET", "/stream") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: history"
                drain = {"kind": "drain-node", "target": "c1n1"}
                assert page.post("/event", json=drain, timeout=60).status_code == 200
                refused = page.post("/event", json=drain, timeout=60)
                assert refused.status_code == 409
                seen = next(line for line in lines if '"state": "drained"' in line)
            assert json.loads(seen.removeprefix("data: "))["phase"] == "up"
        watcher.until("it", lambda v: v["nodes"][0]["state"] == "drained")
        assert server.interrupted()[0] == 0
    finally:
        server.kill()


def test_a_run_is_shown_while_it_is_made_and_takes_no_event(tmp_path: Path) -> None:
    settings = ("workload.kind=echo", "observe_s=2", "steady_s=0.5")
    sets = [word for one in settings for word in ("--set", one)]
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments", "run", "drain-node", *sets),
            *("--out", str(tmp_path / "out")),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    watcher = Watcher(f"run-{run.pid}", "--json")
    try:
        view = watcher.until("it is made", lambda v: v["phase"] == "run")
        assert view["read_only"] and view["possible"] == []
        refused = resetbed("event", "--name", f"run-{run.pid}", "drain-node", "c1n2")
        assert refused.returncode == 2 and "no operation" in refused.stderr
        seen = watcher.until(
            "its event", lambda v: "observing" in v["message"] and v["events"]
        )
        assert seen["events"][0]["moved"] > 0
        assert run.wait(60) == 0
        watcher.until("its end", lambda v: v["phase"] == "absent")
    finally:
        run.kill()
        run.wait()
        watcher.kill()
    events = (tmp_path / "out" / "events.jsonl").read_text()
    assert '"watched"' in events
