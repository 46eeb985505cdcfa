"""The command line's contract: statuses, streams, side by side, nothing left behind."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.commands import (
    ROOT,
    Background,
    eventually,
    processes_inside,
    processes_with,
    resetbed,
)
from topologies.domain.plan import VIP4, VIP6
from topologies.sandbox import find_run

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def cluster() -> Iterator[Background]:
    cluster = Background.up("commands")
    yield cluster
    cluster.down()


def test_exec_passes_streams_and_status_through(cluster: Background) -> None:
    done = cluster.execute("h1", "sh", "-c", "cat; echo oops >&2; exit 7", stdin="hi")
    assert (done.stdout, done.stderr, done.returncode) == ("hi", "oops\n", 7)


def test_exec_works_many_times_at_once(cluster: Background) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: cluster.execute("h1", "echo", n), "12345678"))
    assert [one.stdout for one in done] == [f"{n}\n" for n in "12345678"]


@pytest.mark.parametrize("uri", [f"nbd://{VIP4}", f"nbd://[{VIP6}]"])
def test_a_program_of_the_users_own_is_served(cluster: Background, uri: str) -> None:
    assert "export-size" in cluster.execute("h1", "nbdinfo", uri).stdout


def test_any_port_of_the_vip_is_balanced(cluster: Background) -> None:
    """A user's server is started on every node; clients reach all of them."""
    nodes = list(cluster.status()["nodes"])
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments", "exec", "--name", cluster.name]
            + [node, "--", "sh", "-c", serve_name(node)],
            cwd=ROOT,
        )
        for node in nodes
    ]
    try:
        fetch = ["curl", "-s", "--max-time", "5", f"http://{VIP4}:8080/name"]
        all_nodes_answer(cluster, fetch, set(nodes))
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def serve_name(node: str) -> str:
    """A shell command: a web server whose file ``name`` holds the node's name."""
    return (
        f"d=$(mktemp -d) && echo {node} > $d/name && "
        f"exec {sys.executable} -m http.server -d $d 8080 2>/dev/null"
    )


def all_nodes_answer(cluster: Background, fetch: list[str], nodes: set[str]) -> None:
    found: set[str] = set()

    def look() -> bool:
        loop = f"for i in 1 2 3 4 5 6 7 8 9 10; do {' '.join(fetch)}; done"
        found.update(cluster.execute("h1", "sh", "-c", loop).stdout.split())
        return found == nodes

    eventually(f"answered by {nodes}", look, deadline_s=60)


def test_two_clusters_do_not_see_each_other(cluster: Background) -> None:
    other = Background.up("beside", "--workload", "echo")
    try:
        other.event("drain-node", "c1n1")
        assert other.status()["nodes"]["c1n1"]["state"] == "drained"
        assert cluster.status()["nodes"]["c1n1"]["state"] == "in-service"
        assert other.execute("h1", "nbdinfo", f"nbd://{VIP4}").returncode != 0
    finally:
        other.down()


def test_a_second_up_of_one_name_is_refused(cluster: Background) -> None:
    done = resetbed("up", "--name", cluster.name)
    assert done.returncode == 2
    assert "already running" in done.stderr


def test_status_is_the_contracts_object(cluster: Background) -> None:
    status = cluster.status()
    assert status["vip"] == {"ipv4": VIP4, "ipv6": VIP6}
    assert {"name", "policy", "balancer", "fabric", "chassis"} <= status.keys()
    assert {"chassis", "in_service", "alive", "established"} <= status["nodes"][
        "c1n1"
    ].keys()
    assert len(status["clients"]) == 2
    assert {"stray", "tier1_copies", "tier2_copies"} <= status["counters"].keys()


def test_events_on_one_line_happen_at_once(cluster: Background) -> None:
    done = cluster.event("drain-node", "c1n2", "drain-node", "c2n3")
    first, second = done.splitlines()
    assert first.partition(": ")[::2] == ("drain-node c1n2", second.partition(": ")[2])
    nodes = cluster.status()["nodes"]
    assert {n for n, node in nodes.items() if not node["in_service"]} == {
        "c1n2",
        "c2n3",
    }
    cluster.event("restore-node", "c1n2", "restore-node", "c2n3")
    assert all(node["in_service"] for node in cluster.status()["nodes"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["event", "drain-node", "c9n9"], "no node 'c9n9'"),
        (["event", "burn-node", "c1n1"], "no event 'burn-node'"),
        (["event", "drain-node", "c1n1", "drain-node"], "missing: a node"),
        (["event", "drain-node", "c1n1", "add-node", "c7"], "no chassis 'c7'"),
        (["exec", "h7", "--", "true"], "no host 'h7'"),
    ],
)
def test_invalid_events_are_refused(
    cluster: Background, arguments: list[str], message: str
) -> None:
    command, *rest = arguments
    done = resetbed(command, "--name", cluster.name, *rest)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no-such"], "no such scenario"),
        (["run", "drain-node", "--set", "clutser.nodes=3"], "did you mean 'cluster'"),
        (["status", "--name", "nobody"], "not running"),
        (["down", "--name", "nobody"], "not running"),
        (["up", "--chassis", "0"], "out of range"),
        (["up", "--reset", "none"], "not one of"),
    ],
)
def test_bad_input_exits_with_2(arguments: list[str], message: str) -> None:
    done = resetbed(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_unmet_expectation_exits_with_1(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "events: [{kind: drain-node, target: c1n1}]\n"
        "workload: {connections: 8}\nobserve_s: 0.5\n"
        "expect: {connections.moved: 1000}\n"
    )
    done = resetbed("run", str(spec), "--out", str(tmp_path / "out"))
    assert done.returncode == 1, done.stderr
    assert "NOT as expected" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["as_expected"] is False


def daemons(cluster: Background) -> dict[str, Callable[[], list[int]]]:
    """A kind of process to kill: a name, and how to find its processes (outer pids)."""
    of = functools.partial(processes_inside, cluster.name)
    return {
        "controller": lambda: of("-m controller"),
        "ovs-vswitchd": lambda: of("ovs-vswitchd"),
        "ovsdb-server": lambda: of("ovsdb-server"),
        "storage server": lambda: of("nbdkit"),
    }


def test_every_killed_process_is_restarted_and_serves(cluster: Background) -> None:
    draw = random.Random(1)
    for name, find in daemons(cluster).items():
        victim = draw.choice(find())
        before = len(find())
        os.kill(victim, signal.SIGKILL)
        eventually(f"{name} back", functools.partial(replaced, find, victim, before))
        eventually(
            "in sync",
            lambda: all(
                switch["in_sync"]
                for switch in (
                    cluster.status()["fabric"],
                    *cluster.status()["chassis"].values(),
                )
            ),
        )
        served = cluster.execute("h1", "nbdinfo", f"nbd://{VIP4}")
        assert served.returncode == 0, f"after {name}: {served.stderr}"


def replaced(find: Callable[[], list[int]], victim: int, count: int) -> bool:
    """Whether ``victim`` has gone and there are as many of its kind as before."""
    now = find()
    return victim not in now and len(now) == count


@pytest.mark.parametrize("victim", ["supervisor", "init"])
def test_a_killed_cluster_leaves_nothing(victim: str) -> None:
    cluster = Background.up("doomed")
    run = find_run(cluster.name)
    inside = [pid for find in daemons(cluster).values() for pid in find()]
    pids = {
        "init": [run.init.pid],
        "supervisor": processes_with('"name": "doomed"'),
    }[victim]
    namespace = os.stat(f"/proc/{run.init.pid}/ns/net").st_ino
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually("all ended", lambda: not any(map(alive, inside)))
    eventually("namespace gone", lambda: namespace not in net_namespaces())
    done = resetbed("status", "--name", cluster.name)
    assert done.returncode == 2
    assert "not running" in done.stderr


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def net_namespaces() -> set[int]:
    """Network namespaces that a process is in."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.add(os.stat(entry / "ns/net").st_ino)
            except OSError:
                continue
    return found
