"""The data plane while a process dies: established and new connections continue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import (
    DEADLINE_S,
    ROOT,
    Background,
    eventually,
    processes_inside,
    processes_with,
)
from tests.system.held_connections import HeldConnections
from topologies.domain.plan import VIP4
from topologies.sandbox import find_run

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: Fifty connections that echo until standard input ends, and one new one each turn;
#: then how often a connection broke.
BUSY = f"""
import select, socket, sys
vip = ("{VIP4}", {ECHO_PORT})
held = [socket.create_connection(vip) for _ in range(50)]
print("ready", flush=True)
broken = turns = 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    turns += 1
    new = socket.create_connection(vip, timeout=5)
    for s in [*held, new]:
        s.settimeout(5)
        try:
            s.sendall(b"ping")
            assert s.recv(4) == b"ping"
        except (OSError, AssertionError):
            broken += 1
    new.close()
print(broken if turns > 1 else "idle")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Background]:
    cluster = Background.up("deaths", "--workload", "echo")
    yield cluster
    cluster.down()


def test_with_the_controller_dead_connections_and_resets_go_on(
    cluster: Background,
) -> None:
    """Entries are proactive; and the controller that returns changes nothing."""
    client = subprocess.Popen(
        [sys.executable, "-m", "experiments", "exec", "--name", cluster.name]
        + ["h1", "--", sys.executable, "-c", BUSY],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout
    assert client.stdout.readline() == "ready\n"
    tables = flow_tables(cluster)
    assert "priority" in tables
    socket = f"/run/resetbed/{cluster.name}/ofp.sock"
    for _ in range(3):
        (pid,) = processes_with(f"-m controller --listen {socket}")
        os.kill(pid, signal.SIGKILL)
        eventually("in sync", lambda: in_sync(cluster))
    answer, _ = client.communicate("\n", timeout=30)
    assert answer == "0\n"
    assert flow_tables(cluster) == tables


def in_sync(cluster: Background) -> bool:
    status = cluster.status()
    switches = [status["fabric"], *status["chassis"].values()]
    return all(switch["in_sync"] for switch in switches)


def flow_tables(cluster: Background) -> str:
    """Every switch's entries without their counters, and when each was installed."""
    dump = "ovs-ofctl -OOpenFlow14 --no-stats dump-flows"
    return "".join(
        cluster.execute(switch, *dump.split(), switch).stdout
        for switch in ("fabric", "c1", "c2")
    )


def test_a_host_goes_on_without_its_shell(cluster: Background) -> None:
    """Its network lives as long as the cluster, so commands, events and ends find it."""
    held = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, 20)
    shells = partial(processes_inside, cluster.name, "-is mininet:")
    for pid in shells():
        os.kill(pid, signal.SIGKILL)
    eventually("no shells", lambda: not shells())
    assert held.order("echo") == "20"
    for host in ("h1", "c1n1", "c2"):
        done = cluster.execute(host, "ip", "-o", "link", "show", "up")
        assert host in done.stdout, done.stderr
    assert sum(cluster.established().values()) == 20
    cluster.event("drain-node", "c1n1")
    alive = int(held.order("echo"))
    assert 0 < alive < 20
    eventually("healed", lambda: sum(cluster.established().values()) == alive)
    cluster.event("restore-node", "c1n1", "fail-node", "c2n2")
    cluster.event("restore-node", "c2n2", "add-node", "c1")
    held.order("abort")
    assert cluster.status()["faults"] == []


def test_status_does_not_wait_for_a_switch_with_the_lock(cluster: Background) -> None:
    """While one that does not answer is asked, others are started again."""
    daemon = "$(cat /run/openvswitch/ovs-vswitchd.pid)"
    assert cluster.execute("c1", "sh", "-c", f"kill -STOP {daemon}").returncode == 0
    status = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "experiments",
            "status",
            "--json",
            "--name",
            cluster.name,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    # A connection to c1 that its daemon does not accept is listed with c1's address.
    unix = Path(f"/proc/{find_run(cluster.name).init.pid}/net/unix")
    eventually("c1 is asked", lambda: "/c1.mgmt" in unix.read_text())
    healers = partial(processes_inside, cluster.name, "experiments.healing.healer")
    for pid in healers():
        os.kill(pid, signal.SIGKILL)
    eventually("a healer", healers)
    printed, _ = status.communicate(timeout=DEADLINE_S)
    assert status.returncode == 0
    assert json.loads(printed)["counters"]["tier1_copies"] is None, "nobody knows it"
    assert cluster.execute("c1", "sh", "-c", f"kill -CONT {daemon}").returncode == 0
    eventually("in sync", lambda: in_sync(cluster))
