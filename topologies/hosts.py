"""Storage nodes and clients as Mininet hosts: addresses, and silence where it is due.

A host configures itself with one script (:func:`StorageHost.script`) that may be run
again at any time: it is also how a node that lost power comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mininet.node import Host

from topologies.plan import PREFIX4, PREFIX6, VIP4, VIP6, Client, Node

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
    # No router is here; asking for one would only be noise in captures.
    "net/ipv6/conf/{interface}/accept_ra": 0,
    "net/ipv6/conf/{interface}/router_solicitations": 0,
}

#: Destroys every TCP socket (SOCK_DESTROY, sock_diag(7)) and fails if one is left.
FORGET_CONNECTIONS = """
ss --no-header --tcp --all --kill >/dev/null
left=$(ss --no-header --tcp --all)
test -z "$left" || { echo "sockets left: $left" >&2; exit 1; }
"""


class StorageHost(Host):
    """A host with one interface and addresses of both IP versions, always."""

    def __init__(self, element: Node | Client) -> None:
        """Start the host's shell, in namespaces of its own; ``element`` is the plan's."""
        self.element = element
        super().__init__(element.name)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: Mininet calls this host by host, we run all scripts at once."""
        return {}

    def script(self) -> str:
        """The shell script that configures the host; it may be run again."""
        return "\n".join([*self._sysctls(), "ip -batch - <<END", *self._ip(), "END\n"])

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


class StorageClient(StorageHost):
    """A storage client: to it the VIP is a neighbour on its own link."""
