"""Real Linux hosts, a namespace each, on the ports of a userspace bridge."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.controller.switches import VSwitch, loop, wait_until
from topologies.domain.plan import (
    CLIENTS6,
    FABRIC,
    GATEWAY6,
    GATEWAY_MAC,
    PREFIX4,
    PREFIX6,
    UPLINK_PORT,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
    Node,
    Plan,
)


class LinuxHost:
    """A network namespace with one interface, whose peer is a port of a bridge."""

    def __init__(self, switch: VSwitch, host: Client | Node, port: str) -> None:
        """``port``: name of the bridge's end, in the switch's namespace."""
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        )
        wait_until(self._is_apart, f"a namespace for {host.name}")
        pair = f"link add {port} type veth peer name {host.interface}"
        switch.inside("ip", *pair.split(), "netns", str(self._holder.pid))
        switch.inside("ip", "link", "set", port, "up")
        self.run(f"ip link set {host.interface} address {host.mac}")
        # OVS's userspace ports get frames without the checksums that offloads defer.
        self.run(f"ethtool -K {host.interface} tx off")
        self.run("ip link set lo up")
        self.run(f"ip link set {host.interface} up")
        self._address(f"{host.ipv4}/{PREFIX4}", host.interface)
        self._address(f"{host.ipv6}/{PREFIX6} nodad", host.interface)
        if isinstance(host, Node):
            self._address(f"{VIP4}/32", "lo")
            self._address(f"{VIP6}/128 nodad", "lo")
            self._neighbour(GATEWAY6, GATEWAY_MAC, host.interface)
            route = f"{CLIENTS6} via {GATEWAY6} dev {host.interface} onlink"
            self.run(f"ip -6 route replace {route}")
        else:
            self._neighbour(VIP6, VIP_MAC, host.interface)

    def run(self, command: str) -> str:
        """Output of a command in the host."""
        return self.start(*command.split()).communicate(timeout=20)[0]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the host."""
        namespace = f"--net=/proc/{self._holder.pid}/ns/net"
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nsenter", namespace, *command],
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """Remove the host."""
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()

    def _address(self, address: str, interface: str) -> None:
        self.run(f"ip address add {address} dev {interface}")

    def _neighbour(self, address: str, mac: str, interface: str) -> None:
        """Permanent entry: switches answer ARP only (controller/flows/arp.py)."""
        entry = f"{address} lladdr {mac} nud permanent dev {interface}"
        self.run(f"ip neigh replace {entry}")

    def _is_apart(self) -> bool:
        theirs = os.readlink(f"/proc/{self._holder.pid}/ns/net")
        return theirs != os.readlink("/proc/self/ns/net")


def build_hosts(switch: VSwitch, plan: Plan) -> dict[str, LinuxHost]:
    """Every host of ``plan`` on userspace bridges; the bridges joined as planned."""
    hosts: dict[str, LinuxHost] = {}
    fabric = list(loop())
    for client in plan.clients:
        hosts[client.name] = LinuxHost(switch, client, client.fabric_interface)
        fabric.append((client.fabric_interface, client.fabric_port, ""))
    for chassis in plan.chassis:
        down, up = chassis.fabric_interface, chassis.uplink_interface
        fabric.append((down, chassis.fabric_port, f"type=patch options:peer={up}"))
        ports = [(up, UPLINK_PORT, f"type=patch options:peer={down}")]
        for node in chassis.nodes:
            hosts[node.name] = LinuxHost(switch, node, node.switch_interface)
            ports.append((node.switch_interface, node.port, ""))
        switch.add_bridge(chassis.name, chassis.dpid, ports, "netdev")
    switch.add_bridge(FABRIC, plan.switches[FABRIC], fabric, "netdev")
    return hosts
