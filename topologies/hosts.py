"""Storage nodes and clients as Mininet hosts: addresses, and silence where it is due.

A host configures itself with one script (:func:`StorageHost.script`) that may be run
again at any time: it is also how a node that lost power comes back.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from mininet.node import Host

from topologies.domain.plan import (
    CLIENTS4,
    CLIENTS6,
    GATEWAY4,
    GATEWAY6,
    GATEWAY_MAC,
    PREFIX4,
    PREFIX6,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
    Node,
)
from topologies.processes import Process, processes_in_network
from topologies.shaping import UNSHAPED, LinkOptions

#: Of every host, for all its interfaces. Its TCP stays as Linux has it by default.
SYSCTLS = {
    # IPv4 settings of a new namespace are copies of the machine's, whatever they are.
    "net/ipv4/ip_forward": 0,
    "net/ipv4/conf/{interface}/rp_filter": 0,
    # A node holds the VIP on its loopback but never answers ARP for it, nor asks in
    # its name: only the switches speak for the VIP.
    "net/ipv4/conf/{interface}/arp_ignore": 1,
    "net/ipv4/conf/{interface}/arp_announce": 2,
    # Addresses are of use at once: nobody else has them (RFC 4862, 5.4).
    "net/ipv6/conf/{interface}/disable_ipv6": 0,
    "net/ipv6/conf/{interface}/accept_dad": 0,
    # No router is here. Who accepts none asks for none (addrconf_dad_completed).
    "net/ipv6/conf/{interface}/accept_ra": 0,
}

#: With its link down, a host forgets every TCP connection (SOCK_DESTROY, ss(8)) and,
#: by its own interface going down, every neighbour and what is queued for one.
_POWER_OFF = """
ss --no-header --tcp --all --kill >/dev/null
left=$(ss --no-header --tcp --all)
test -z "$left" || {{ echo "sockets left: $left" >&2; exit 1; }}
ip link set dev {interface} down
"""

#: Programs that are killed are gone at once; a longer wait is a fault.
KILL_TIMEOUT_S = 5.0


class StorageHost(Host):
    """A host with one interface and addresses of both IP versions, always."""

    def __init__(self, element: Node | Client, link: LinkOptions = UNSHAPED) -> None:
        """Start the host's shell, in namespaces of its own; ``element`` is the plan's.

        ``link``: what its end of its link does to what it sends.
        """
        self.element = element
        self.link = link
        super().__init__(element.name)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing but Mininet's notes: the script does it, many hosts at once."""
        interface = self.defaultIntf()
        interface.ip, interface.prefixLen = self.element.ipv4, str(PREFIX4)
        return {}

    def script(self) -> str:
        """The shell script that configures the host; it may be run again."""
        lines = [*self._sysctls(), "ip -batch - <<END", *self._ip(), "END"]
        if shaped := [*self.link.tc_commands(self.element.interface)]:
            lines += ["tc -batch - <<END", *shaped, "END"]
        return "\n".join([*lines, ""])

    def power_off_script(self) -> str:
        """The shell script that makes it forget; its link and programs are down."""
        return _POWER_OFF.format(interface=self.element.interface)

    def programs(self) -> list[Process]:
        """Every process in its network namespace but the shell, which *is* the host."""
        return [each for each in processes_in_network(self.pid) if each.pid != self.pid]

    def kill_programs(self) -> None:
        """Kill every program, and what it may have forked meanwhile.

        Raises :class:`TimeoutError` if one does not end.
        """
        while programs := self.programs():
            for program in programs:
                program.send(signal.SIGKILL)
            if not all(each.wait(KILL_TIMEOUT_S) for each in programs):
                raise TimeoutError(f"{self.name}: a program does not end when killed")

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Each address with its prefix length, and the interface that holds it."""
        yield f"{self.element.ipv4}/{PREFIX4}", self.element.interface
        yield f"{self.element.ipv6}/{PREFIX6}", self.element.interface

    def _sysctls(self) -> Iterator[str]:
        for path, value in SYSCTLS.items():
            for interface in ("all", "default", self.element.interface):
                yield f"echo {value} >/proc/sys/{path.format(interface=interface)}"

    def _ip(self) -> Iterator[str]:
        yield "link set dev lo up"
        for address, interface in self.addresses():
            yield f"address replace {address} dev {interface}"
        yield f"link set dev {self.element.interface} up"


class StorageNode(StorageHost):
    """A storage node: it serves the VIP, which it holds on its loopback."""

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Its own addresses and the VIP's."""
        yield from super().addresses()
        yield f"{VIP4}/32", "lo"
        yield f"{VIP6}/128", "lo"

    def _ip(self) -> Iterator[str]:
        yield from super()._ip()
        device = f"dev {self.element.interface}"
        for gateway, clients in ((GATEWAY4, CLIENTS4), (GATEWAY6, CLIENTS6)):
            yield f"neigh replace {gateway} lladdr {GATEWAY_MAC} nud permanent {device}"
            yield f"route replace {clients} via {gateway} {device} onlink"


class StorageClient(StorageHost):
    """A storage client: to it the VIP is a neighbour on its own link.

    It asks for the IPv4 one (ARP). The IPv6 one it knows beforehand, because a switch on
    the kernel's datapath cannot answer for it (:mod:`controller.flows.arp`).
    """

    def _ip(self) -> Iterator[str]:
        yield from super()._ip()
        device = f"dev {self.element.interface}"
        yield f"neigh replace {VIP6} lladdr {VIP_MAC} nud permanent {device}"
