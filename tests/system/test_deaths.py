"""The data plane while a process dies: established and new connections continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import ROOT, Background, eventually, processes_with
from topologies.domain.plan import VIP4

pytestmark = pytest.mark.live

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
