"""Every switch has its own Open vSwitch, which can fail alone and be restarted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.topologies.running_cluster import (
    assert_reaches,
    learn,
    on,
    openflow,
    ports,
    running,
)
from tests.topologies.waiting import DEADLINE_S, eventually
from topologies.datapaths import find_datapath
from topologies.domain.plan import (
    LOOP_IN_INTERFACE,
    LOOP_IN_PORT,
    LOOP_OUT_INTERFACE,
    LOOP_OUT_PORT,
    Plan,
)
from topologies.network import ClusterNetwork
from topologies.runs import RUN_VARIABLE, run_directory
from topologies.switches import OVSDB, VSWITCHD, IsolatedSwitch

pytestmark = [pytest.mark.live, pytest.mark.beside, pytest.mark.sandboxed]

PLAN = Plan.build(chassis=2, nodes=2, clients=1)


def expected_ports(plan: Plan, switch: str) -> dict[str, int]:
    if switch == "fabric":
        loop = {LOOP_OUT_INTERFACE: LOOP_OUT_PORT, LOOP_IN_INTERFACE: LOOP_IN_PORT}
        below = {each.fabric_interface: each.fabric_port for each in plan.chassis}
        return (
            loop
            | below
            | {each.fabric_interface: each.fabric_port for each in plan.clients}
        )
    chassis = plan.find_chassis(switch)
    nodes = {node.switch_interface: node.port for node in chassis.nodes}
    return nodes | {chassis.uplink_interface: 1000}


def test_every_switch_has_the_plans_ports_and_id() -> None:
    with running(PLAN) as network:
        for switch, dpid in PLAN.switches.items():
            assert ports(network, switch) == expected_ports(PLAN, switch)
            assert f"dpid:{dpid:016x}" in openflow(network, switch, "show")


def test_without_flow_entries_nothing_is_forwarded_or_sent() -> None:
    """fail_mode=secure, and no packet from the kernel of a switch's namespace."""
    with running(PLAN) as network:
        for switch in PLAN.switches:
            openflow(network, switch, "del-flows")
        assert openflow(network, "c1", "dump-flows").count("priority") == 0
        counter = "/sys/class/net/c1n1-eth0/statistics/rx_packets"
        before = on(network, "c1n1", "cat", counter)
        network.host("c1n2").cmd("ping -c 3 -i 0.2 -W 1 10.2.1.1")
        assert on(network, "c1n1", "cat", counter) == before


@pytest.mark.parametrize("daemon", [VSWITCHD, OVSDB])
def test_a_restart_restores_ports_and_controller(daemon: str) -> None:
    with running(PLAN, "tcp:127.0.0.1:6653") as network:
        switch = network.switch("c1")
        survivor = switch.daemon(OVSDB if daemon == VSWITCHD else VSWITCHD)
        switch.daemon(daemon).send(signal.SIGKILL)
        eventually("its death is seen", lambda: switch.dead_daemons() == [daemon])
        assert not switch.alive()
        switch.restart()
        assert switch.alive()
        assert survivor.alive()
        assert ports(network, "c1") == expected_ports(PLAN, "c1")
        controller = on(network, "c1", "ovs-vsctl", "get-controller", "c1")
        assert controller == "tcp:127.0.0.1:6653\n"
        learn(network, "c1")
        assert_reaches(network, "h1", "10.2.1.1", "fd00:10:2:1::2")


@pytest.mark.parametrize("daemon", [VSWITCHD, OVSDB])
@pytest.mark.parametrize("fails", [True, False], ids=["seen", "unseen"])
def test_a_daemon_that_is_killed_while_its_switch_starts(
    monkeypatch: pytest.MonkeyPatch, daemon: str, fails: bool
) -> None:
    """Its start fails, and is tried again; or nobody has seen it, and it is found dead."""
    whole = IsolatedSwitch.start_script
    killed: list[str] = []

    def dying(switch: IsolatedSwitch) -> str:
        script = whole(switch)
        if switch.name == "c1" and not killed:
            killed.append(daemon)
            script += f"""
                pid=$(cat /run/openvswitch/{daemon}.pid)
                kill -9 $pid
                while kill -0 $pid 2>/dev/null; do :; done
                {"false" if fails else "true"}
            """
        return script

    monkeypatch.setattr(IsolatedSwitch, "start_script", dying)
    network = ClusterNetwork(PLAN)
    network.start("tcp:127.0.0.1:6653")
    try:
        switch = network.switch("c1")
        assert killed == [daemon]
        if not fails:
            eventually("its death is seen", lambda: switch.dead_daemons() == [daemon])
            switch.restart()
        assert switch.alive()
        assert ports(network, "c1") == expected_ports(PLAN, "c1")
        controller = on(network, "c1", "ovs-vsctl", "get-controller", "c1")
        assert controller == "tcp:127.0.0.1:6653\n"
    finally:
        network.stop()


def test_one_switch_dies_alone() -> None:
    with running(PLAN) as network:
        network.switch("c1").kill()
        assert not network.switch("c1").alive()
        assert network.switch("fabric").alive()
        assert_reaches(network, "h1", "10.2.2.1")


def test_a_restart_leaves_a_link_down_that_is_down() -> None:
    with running(PLAN) as network:
        network.power_off(PLAN.find_node("c1n1"))
        network.switch("c1").kill()
        network.switch("c1").restart()
        assert "state DOWN" in on(network, "c1", "ip", "link", "show", "c1-n1")


def test_it_connects_to_its_controller_and_reconnects(tmp_path: Path) -> None:
    """Over a UNIX socket outside its own directory, across network namespaces."""
    path = run_directory(os.environ[RUN_VARIABLE]) / "ofp.sock"
    serve = [sys.executable, "-m", "tests.topologies.openflow_listener", str(path)]
    with (tmp_path / "greetings").open("w+") as greetings:
        controller = subprocess.Popen(serve, stdout=greetings)
        eventually("it listens", path.exists)
        with running(PLAN, f"unix:{path}") as network:
            switches = network.net.switches
            count = len(switches)
            eventually("all come", lambda: lines_of(greetings.name) == count)
            IsolatedSwitch.limit_reconnect_backoff(switches)
            controller.kill()
            controller.wait()
            controller = subprocess.Popen(serve, stdout=greetings)
            eventually("all come again", lambda: lines_of(greetings.name) == 2 * count)
            eventually("it is known", lambda: all(s.connected() for s in switches))
        controller.kill()
        controller.wait()


def lines_of(path: str) -> int:
    return Path(path).read_text().count("\n")


def test_its_control_socket_is_at_its_documented_path() -> None:
    with running(PLAN) as network:
        control = network.switch("c2").unixctl
        assert control == Path("/run/openvswitch/c2/vswitchd.ctl")
        kind = ["ovs-appctl", "-t", str(control), "dpif/show"]
        shown = subprocess.run(kind, capture_output=True, text=True, check=True)
        assert re.match(rf"{find_datapath().type}@", shown.stdout)


def test_offloads_stay_on_and_checksums_right() -> None:
    """10 MB through two switches arrive whole, with no checksum error at the receiver."""
    with running(PLAN) as network:
        for address in ("10.2.1.1", "fd00:10:2:1::1"):
            assert _transfer(network, address) == 10_000_000
        assert "tcp-segmentation-offload: on" in on(
            network, "h1", "ethtool", "-k", "h1-eth0"
        )
        counted = on(network, "c1n1", "nstat", "-asz", "TcpInCsumErrors", "TcpInErrs")
        assert re.findall(r"^Tcp\w+ +(\d+)", counted, re.MULTILINE) == ["0", "0"]


def _transfer(network: ClusterNetwork, address: str) -> int:
    """The number of bytes received by c1n1 of 10 MB sent by h1."""
    server = Path("/run/openvswitch/server.out")
    server.unlink(missing_ok=True)
    receiver = network.popen("c1n1", [sys.executable, "-c", _RECEIVE, address], server)
    eventually("it listens", lambda: server.exists() and server.read_text() == "up\n")
    network.popen("h1", [sys.executable, "-c", _SEND, address])
    receiver.wait(DEADLINE_S)
    return int(server.read_text().split()[1])


_RECEIVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7000), family=family) as server:
    print("up", flush=True)
    connection, _ = server.accept()
    received = 0
    while data := connection.recv(1 << 20):
        received += len(data)
print(received)
"""
_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as connection:
    connection.sendall(bytes(10_000_000))
"""
