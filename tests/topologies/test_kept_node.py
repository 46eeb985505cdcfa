"""Hosts and switches survive their shells: namespaces, commands, power, removal, end."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from tests.topologies.running_cluster import assert_reaches, on, reaches, running
from tests.topologies.waiting import eventually
from topologies import kept_node
from topologies.domain.plan import Plan
from topologies.hosts import StorageClient
from topologies.network import ClusterNetwork
from topologies.scripts import ScriptError

pytestmark = [pytest.mark.live, pytest.mark.beside, pytest.mark.sandboxed]

PLAN = Plan.build(chassis=1, nodes=2, clients=1)
NODE = PLAN.chassis[0].nodes[0]


def kill_shells(network: ClusterNetwork, *names: str) -> None:
    """Kill these shells, or all, and wait for their end."""
    for name in names or network.net:
        network.net[name].shell.kill()
        network.net[name].shell.wait()


def test_everything_works_with_all_shells_dead() -> None:
    with running(PLAN) as network:
        sleep = network.popen("c1n1", ["sleep", "1000"])
        kill_shells(network)
        assert_reaches(network, "h1", NODE.ipv4, NODE.ipv6)
        network.power_off(NODE)
        assert sleep.wait() == -signal.SIGKILL
        assert not reaches(network, "h1", NODE.ipv4)
        network.power_on(NODE)
        assert_reaches(network, "h1", NODE.ipv4)
        switch = network.switch("c1")
        switch.daemon("ovs-vswitchd").send(signal.SIGKILL)
        eventually("it is dead", switch.dead_daemons)
        switch.restart()
        assert "Bridge c1" in on(network, "c1", "ovs-vsctl", "show")
        grown, new = PLAN.with_node("c1")
        network.add_node(new)
        kill_shells(network, new.name)
        network.remove_node(new)
        assert network.plan == PLAN != grown


def test_a_command_starts_a_killed_shell_again() -> None:
    with running(PLAN) as network:
        before = {name: namespaces(network.net[name].pid) for name in network.net}
        kill_shells(network)
        for name, expected in before.items():
            element = network.net[name]
            assert element.cmd("echo $((6 * 7))") == "42\r\n"
            assert namespaces(element.shell.pid) == expected
            assert namespaces(element.pid) == expected
        assert "Bridge c1" in network.net["c1"].cmd("ovs-vsctl show")
        assert list(network.host("c1n1").programs()) == []


def namespaces(pid: int) -> tuple[str, str]:
    return os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{pid}/ns/mnt")


def test_a_command_ends_with_its_shell() -> None:
    with running(PLAN) as network:
        host = network.host("h1")
        host.sendCmd("echo here; read forever")
        assert host.monitor() == "here\r\n"
        kill_shells(network, "h1")
        assert host.waitOutput() == ""
        assert host.cmd("echo again") == "again\r\n"


def test_a_shell_that_dies_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mininet would wait for its prompt for ever."""
    start = kept_node.KeptNode._popen

    def start_and_kill(self: Any, cmd: list[str], **params: Any) -> Any:
        process = start(self, cmd, **params)
        process.kill()
        return process

    monkeypatch.setattr(kept_node.KeptNode, "_popen", start_and_kill)
    with pytest.raises(ScriptError, match="h1: its shell has ended"):
        StorageClient(PLAN.clients[0])
    network = ClusterNetwork(PLAN)
    with pytest.raises(ScriptError, match="its shell has ended"):
        network.start()
    network.stop()


def test_namespaces_end_with_their_host() -> None:
    host = StorageClient(PLAN.clients[0])
    network, _ = namespaces(host.pid)
    threads = threading.active_count()
    kill = host.shell
    kill.kill()
    kill.wait()
    assert namespaces(host.pid)[0] == network
    host.terminate()
    assert threading.active_count() == threads - 1
    eventually("no thread is in it", lambda: not os.path.exists(f"/proc/{host.pid}"))
