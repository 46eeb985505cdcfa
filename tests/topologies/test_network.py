"""A live cluster network: addresses, growth, power failures."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.topologies.running_cluster import (
    assert_reaches,
    learn,
    on,
    ports,
    reaches,
    running,
)
from tests.topologies.waiting import eventually
from topologies.domain.plan import VIP4, VIP6, Plan, PlanError
from topologies.network import ClusterNetwork
from topologies.runs import RUN_VARIABLE, run_directory
from topologies.scripts import ScriptError

pytestmark = [pytest.mark.live, pytest.mark.beside, pytest.mark.sandboxed]

PLAN = Plan.build(chassis=2, nodes=2, clients=2)
SCRATCH = Path("/run/openvswitch")

#: Listens on both IP versions, accepts two connections, reports them and holds them. It
#: closes a third immediately, which leaves its port in TIME-WAIT.
SERVER = """
import signal, socket
four = socket.create_server(("10.2.1.1", 7000))
six = socket.create_server(("fd00:10:2:1::1", 7000), family=socket.AF_INET6)
print("listening", flush=True)
held = [four.accept()[0], six.accept()[0]]
four.accept()[0].close()
print("held", flush=True)
signal.pause()
"""
CLIENT = """
import signal, socket
targets = ("10.2.1.1", "fd00:10:2:1::1", "10.2.1.1")
held = [socket.create_connection((target, 7000)) for target in targets]
held.pop().recv(1)
print("connected", flush=True)
signal.pause()
"""


def wait_for_word(path: Path, word: str) -> None:
    eventually(
        f"{path} says {word}", lambda: path.exists() and word in path.read_text()
    )


def hold_connections(network: ClusterNetwork) -> subprocess.Popen[bytes]:
    """A server on c1n1 with connections of both IP versions from h1."""
    for name in ("server", "client"):
        (SCRATCH / name).unlink(missing_ok=True)
    python = [sys.executable, "-c"]
    server = network.popen("c1n1", [*python, SERVER], SCRATCH / "server")
    wait_for_word(SCRATCH / "server", "listening")
    network.popen("h1", [*python, CLIENT], SCRATCH / "client")
    wait_for_word(SCRATCH / "server", "held")
    wait_for_word(SCRATCH / "client", "connected")
    return server


def sockets(network: ClusterNetwork, host: str) -> list[str]:
    return on(network, host, "ss", "-Hta").splitlines()


def test_every_client_reaches_every_node_by_both_ip_versions() -> None:
    with running(PLAN) as network:
        for client in PLAN.clients:
            for node in PLAN.nodes:
                assert_reaches(network, client.name, node.ipv4, node.ipv6)


def test_every_node_holds_the_vip_and_no_node_answers_for_it() -> None:
    """Even on a learning bridge, where its ARP and neighbour requests arrive."""
    with running(PLAN) as network:
        for node in PLAN.nodes:
            held = on(network, node.name, "ip", "-br", "address", "show", "lo")
            assert f"{VIP4}/32" in held
            assert f"{VIP6}/128" in held
        assert_reaches(network, "h1", "10.2.1.1", "fd00:10:2:1::1")
        assert not reaches(network, "h1", VIP4)
        assert not reaches(network, "h1", VIP6)


def test_addresses_are_usable_immediately_and_without_queries() -> None:
    """No duplicate address detection, no router solicitation."""
    with running(PLAN) as network:
        for host in ("c1n1", "h1"):
            addresses = on(network, host, "ip", "-6", "address")
            assert "tentative" not in addresses
            for kind in ("Router", "Neighbor"):
                counter = f"Icmp6Out{kind}Solicits"
                counted = on(network, host, "nstat", "-asz", counter)
                assert re.search(rf"{counter} +0 ", counted)


def test_programs_write_to_their_files_in_their_network() -> None:
    with running(PLAN) as network:
        out, err = SCRATCH / "out", SCRATCH / "err"
        script = "ip -br link; echo $WHO >&2; exit 3"
        program = network.popen(
            "c2n1", ["sh", "-c", script], out, err, env={"WHO": "me"}
        )
        assert program.wait() == 3
        assert "c2n1-eth0" in out.read_text()
        assert err.read_text() == "me\n"


def test_a_program_outlives_the_thread_that_asked_for_it() -> None:
    """Even one that asks to be killed with its parent: nbdkit does, and the kernel takes
    the thread for the parent. Each command to a cluster has its own thread."""
    with running(PLAN) as network:
        (SCRATCH / "out").unlink(missing_ok=True)
        script = "echo ready; exec sleep 1000"
        command = ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", script]
        programs = []

        def start() -> None:
            programs.append(network.popen("c2n1", command, SCRATCH / "out"))
            wait_for_word(SCRATCH / "out", "ready")

        thread = threading.Thread(target=start)
        thread.start()
        task = Path(f"/proc/self/task/{thread.native_id}")
        thread.join()
        eventually("the thread has ended", lambda: not task.exists())
        (program,) = programs
        program.terminate()
        assert program.wait() == -signal.SIGTERM


def test_a_site_is_in_its_nodes_network() -> None:
    with running(PLAN) as network:
        site = network.site(PLAN.find_node("c2n2"))
        address = ["nsenter", f"--net=/proc/{site.pid}/ns/net", "cat"]
        address.append("/proc/net/dev")
        seen = subprocess.run(address, capture_output=True, text=True, check=True)
        assert site.interface in seen.stdout
        assert (site.name, site.mac) == ("c2n2", "02:02:00:00:02:02")


def test_power_off_sends_nothing_and_destroys_all_sockets() -> None:
    """No FIN and no RST reach the client."""
    node = PLAN.find_node("c1n1")
    with running(PLAN) as network:
        server = hold_connections(network)
        assert any("TIME-WAIT" in line for line in sockets(network, "c1n1"))
        before = set(sockets(network, "h1"))
        network.power_off(node)
        assert server.wait() == -9
        assert sockets(network, "c1n1") == []
        assert not reaches(network, "h1", node.ipv4)
        network.power_on(node)
        assert_reaches(network, "h1", node.ipv4, node.ipv6)
        assert set(sockets(network, "h1")) == before
        assert sum("ESTAB" in line for line in before) == 2


def test_a_chassis_is_powered_off_and_on() -> None:
    chassis = PLAN.find_chassis("c1")
    with running(PLAN) as network:
        server = hold_connections(network)
        network.power_off_chassis(chassis)
        assert server.wait() == -9
        assert not network.switch("c1").alive()
        assert sockets(network, "c1n1") == []
        assert "DOWN" in on(network, "fabric", "ip", "-br", "link", "show", "fabric-c1")
        assert_reaches(network, "h1", "10.2.2.1")
        network.power_on_chassis(chassis)
        learn(network, "c1")
        assert_reaches(network, "h1", "10.2.1.1", "fd00:10:2:1::2")


def test_a_node_that_was_off_before_its_chassis_stays_off() -> None:
    chassis = PLAN.find_chassis("c1")
    with running(PLAN) as network:
        network.power_off(chassis.nodes[0])
        network.power_off_chassis(chassis)
        network.power_on_chassis(chassis)
        learn(network, "c1")
        assert_reaches(network, "h1", chassis.nodes[1].ipv4)
        assert not reaches(network, "h1", chassis.nodes[0].ipv4)


def test_a_node_joins_a_running_chassis() -> None:
    with running(PLAN) as network:
        grown, node = PLAN.with_node("c2")
        network.add_node(node)
        assert network.plan == grown
        assert ports(network, "c2")["c2-n3"] == 3
        assert_reaches(network, "h2", node.ipv4, node.ipv6)
        assert on(
            network, "c2n3", "cat", "/sys/class/net/c2n3-eth0/address"
        ).strip() == (node.mac)


def test_a_chassis_joins_a_running_cluster() -> None:
    with running(PLAN) as network:
        grown, chassis = PLAN.with_chassis(3)
        network.add_chassis(chassis)
        learn(network, "c3")
        assert network.plan == grown
        assert ports(network, "fabric")["fabric-c3"] == 3
        for node in chassis.nodes:
            assert_reaches(network, "h1", node.ipv4, node.ipv6)


def test_only_the_plans_next_element_can_join() -> None:
    with running(PLAN) as network:
        later = PLAN.with_node("c1")[0].with_node("c1")[1]
        with pytest.raises(PlanError, match="c1n4 is not the next one; c1n3 is"):
            network.add_node(later)


def test_hosts_are_published_outside() -> None:
    with running(PLAN) as network:
        published = run_directory(os.environ[RUN_VARIABLE]) / "hosts.json"
        network.add_node(PLAN.with_node("c1")[1])
        for host in ("h1", "c1n3", "fabric"):
            assert f'"{host}": {network.net[host].pid}' in published.read_text()


def test_mininets_own_commands_work() -> None:
    with running(PLAN) as network:
        hosts = [network.net["h1"], network.net["c2n2"]]
        assert network.net.ping(hosts, timeout="2") == 0
        assert network.net["h1"].IP() == "10.1.0.1"


NODE_STEPS = ["_links.make", "_attach", "_publish"]
CHASSIS_STEPS = ["_links.make", "_attach", "_publish", "host"]


def daemons() -> int:
    """The number of switch daemons in this sandbox."""
    names = (one.read_text().strip() for one in Path("/proc").glob("[0-9]*/comm"))
    return sum(name in ("ovs-vswitchd", "ovsdb-server") for name in names)


def break_once(network: ClusterNetwork, step: str, patch: pytest.MonkeyPatch) -> None:
    """Make that method of the network fail, once, after its work."""
    *path, name = step.split(".")
    owner: Any = functools.reduce(getattr, path, network)
    works = getattr(owner, name)

    def fail(*arguments: Any) -> None:
        works(*arguments)
        raise ScriptError(step)

    patch.setattr(owner, name, fail)


def test_a_node_that_could_not_join_can_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For every partly created state."""
    grown, node = PLAN.with_node("c2")
    with running(PLAN) as network:
        for step in NODE_STEPS:
            with monkeypatch.context() as patch:
                break_once(network, step, patch)
                with pytest.raises(ScriptError, match=step):
                    network.add_node(node)
            network.remove_node(node)
            assert network.plan == PLAN
            assert node.name not in network.net
            assert "c2-n3" not in ports(network, "c2")
            assert "c2-n3" not in on(network, "c2", "ip", "-br", "link")
            network.remove_node(node)  # there is nothing left of it
        network.add_node(node)
        assert network.plan == grown
        assert ports(network, "c2")["c2-n3"] == 3
        assert_reaches(network, "h2", node.ipv4, node.ipv6)


def test_a_chassis_that_could_not_join_can_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For every partly created state, also with a running switch and its database."""
    grown, chassis = PLAN.with_chassis(3)
    names = {chassis.name, *(node.name for node in chassis.nodes)}
    with running(PLAN) as network:
        for step in CHASSIS_STEPS:
            with monkeypatch.context() as patch:
                break_once(network, step, patch)
                with pytest.raises(ScriptError, match=step):
                    network.add_chassis(chassis)
            network.remove_chassis(chassis)
            assert network.plan == PLAN
            assert names.isdisjoint(network.net)
            assert "fabric-c3" not in ports(network, "fabric")
            assert not Path("/run/openvswitch/c3").exists()
            assert daemons() == 2 * len(PLAN.switches)
        network.add_chassis(chassis)
        learn(network, "c3")
        assert network.plan == grown
        for node in chassis.nodes:
            assert_reaches(network, "h1", node.ipv4, node.ipv6)
