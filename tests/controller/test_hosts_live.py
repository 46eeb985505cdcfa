"""Real Linux hosts on real switches resolve each other, and a connection opens."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.controller.clusters import state
from tests.controller.controllers import ControllerProcess
from tests.controller.linux_hosts import LinuxHost, build_hosts
from tests.controller.switches import VSwitch, wait_until
from topologies.domain.membership import Membership
from topologies.domain.plan import GATEWAY_MAC, VIP4, VIP6, VIP_MAC, Plan

pytestmark = [pytest.mark.live, pytest.mark.beside]

PLAN = Plan.build(chassis=1, nodes=2, clients=1)
[H1] = PLAN.clients

SERVE = """
import socket, sys
with socket.create_server((sys.argv[1], 7), family=int(sys.argv[2])) as server:
    print("ready", flush=True)
    while True:
        peer = server.accept()[0]
        peer.sendall(peer.recv(100).upper())
        peer.close()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), timeout=5) as stream:
    stream.sendall(b"hello")
    print(stream.recv(100).decode())
"""


@pytest.fixture
def hosts(switch: VSwitch) -> Iterator[dict[str, LinuxHost]]:
    """One client, one chassis of two nodes, under the controller."""
    built = build_hosts(switch, PLAN)
    controller = ControllerProcess(switch)
    try:
        controller.serve(state(Membership.all_in_service(PLAN), plan=PLAN))
        yield built
    finally:
        controller.kill()
        for host in built.values():
            host.stop()


@pytest.mark.parametrize(
    ("asker", "target", "answer"),
    [
        ("h1", VIP4, VIP_MAC),
        ("c1n1", H1.ipv4, GATEWAY_MAC),
    ],
    ids=["client", "node"],
)
def test_a_linux_host_resolves_its_neighbour(
    hosts: dict[str, LinuxHost], asker: str, target: str, answer: str
) -> None:
    host = hosts[asker]
    host.run(f"ping -c 1 -W 0.1 {target}")

    def entry() -> str:
        return host.run(f"ip neigh show {target}")

    wait_until(lambda: "REACHABLE" in entry(), f"{asker} reaches {target}: {entry()}")
    assert f"lladdr {answer} " in entry()
    # Again: the unicast probe of a neighbour that is resolved already.
    host.run(f"ip neigh change {target} lladdr {answer} dev {asker}-eth0 nud probe")
    wait_until(lambda: "REACHABLE" in entry(), f"{asker} probes {target}: {entry()}")


@pytest.mark.parametrize(("vip", "family"), [(VIP4, 2), (VIP6, 10)], ids=["v4", "v6"])
def test_a_connection_opens_through_both_tiers(
    hosts: dict[str, LinuxHost], vip: str, family: int
) -> None:
    servers = [
        hosts[node.name].start(sys.executable, "-c", SERVE, vip, str(family))
        for node in PLAN.nodes
    ]
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        for _ in range(4):
            asked = hosts["h1"].start(sys.executable, "-c", ASK, vip)
            assert asked.communicate(timeout=10)[0] == "HELLO\n"
    finally:
        for server in servers:
            server.kill()
            server.communicate()
