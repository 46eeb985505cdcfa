"""A live cluster with learning switches, for a test inside a sandbox.

What the switches of a storage cluster really do is the controller's matter; here the
ground under it is tested: hosts, links, ports, daemons.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.topologies.waiting import eventually
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.plan import (
    FABRIC,
    GATEWAY_MAC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    Plan,
)
from topologies.network import ClusterNetwork


@contextmanager
def running(
    plan: Plan, controller: str | None = None, link: LinkOptions = UNSHAPED
) -> Iterator[ClusterNetwork]:
    """A running network of that plan; it is ended afterwards."""
    network = ClusterNetwork(plan, link=link)
    network.start(controller)
    try:
        for switch in plan.switches:
            learn(network, switch)
        yield network
    finally:
        network.stop()


def learn(network: ClusterNetwork, switch: str) -> None:
    """Make a switch a learning bridge, without the fabric's loop cable."""
    if switch == FABRIC:
        for port in (LOOP_OUT_PORT, LOOP_IN_PORT):
            drop = f"priority=2,in_port={port},actions=drop"
            openflow(network, switch, "add-flow", drop)
    for flow in gateway(network.plan, switch):
        openflow(network, switch, "add-flow", f"priority=3,dl_dst={GATEWAY_MAC},{flow}")
    openflow(network, switch, "add-flow", "priority=1,actions=NORMAL")


def gateway(plan: Plan, switch: str) -> Iterator[str]:
    """What becomes of what nodes send to clients: a bridge alone has no gateway."""
    if switch != FABRIC:
        yield f"actions=output:{UPLINK_PORT}"
        return
    for client in plan.clients:
        to_client = f"set_field:{client.mac}->eth_dst,output:{client.fabric_port}"
        yield f"ip,nw_dst={client.ipv4},actions={to_client}"
        yield f"ipv6,ipv6_dst={client.ipv6},actions={to_client}"


def openflow(network: ClusterNetwork, switch: str, command: str, *more: str) -> str:
    """Output of ovs-ofctl(8) in the switch's own namespaces."""
    return on(network, switch, "ovs-ofctl", "-O", "OpenFlow14", command, switch, *more)


def ports(network: ClusterNetwork, switch: str) -> dict[str, int]:
    """The OpenFlow port number of each interface of a switch."""
    lines = openflow(network, switch, "dump-ports-desc").splitlines()
    described = [line.split("(") for line in lines if "): addr:" in line]
    numbers = {rest.split(")")[0]: number.strip() for number, rest in described}
    return {name: int(each) for name, each in numbers.items() if each.isdigit()}


def on(network: ClusterNetwork, element: str, *argv: str) -> str:
    """Output of a command on a host or a switch; it must succeed."""
    command = ["mnexec", "-a", str(network.net[element].pid), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{element}: {argv}: {done.stdout}{done.stderr}"
    return done.stdout


def reaches(network: ClusterNetwork, host: str, address: str) -> bool:
    """Whether a ping from the host is answered."""
    ping = ["ping", "-n", "-c", "1", "-W", "1", address]
    pid = network.net[host].pid
    command = ["mnexec", "-a", str(pid), *ping]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def assert_reaches(network: ClusterNetwork, host: str, *addresses: str) -> None:
    """Wait until every address answers the host."""
    for address in addresses:
        reached = partial(reaches, network, host, address)
        eventually(f"{host} reaches {address}", reached)
