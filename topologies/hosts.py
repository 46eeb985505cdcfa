"""Storage nodes and clients as Mininet hosts.

One script (:func:`StorageHost.script`) configures a host. It can be run again at any time,
for example when a node is powered on again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from mininet.node import Host

from topologies.domain.addressing import ip_commands
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.plan import PREFIX4, Client, Node
from topologies.kept_node import KeptNode
from topologies.shaping import change_commands, tc_commands
from topologies.socket_tables import derived_limits

#: Settings of every host, for all its interfaces. TCP keeps Linux's defaults, but for
#: those that a node is given: a new namespace has them, whatever the machine's are.
SYSCTLS = {
    # A new namespace inherits the machine's IPv4 settings.
    "net/ipv4/ip_forward": 0,
    "net/ipv4/conf/{interface}/rp_filter": 0,
    # A node holds the VIP on its loopback, but never answers ARP for it and never uses it
    # as the source of a request: only the switches answer for the VIP.
    "net/ipv4/conf/{interface}/arp_ignore": 1,
    "net/ipv4/conf/{interface}/arp_announce": 2,
    # Addresses are usable immediately: they are unique by plan (RFC 4862, 5.4).
    "net/ipv6/conf/{interface}/disable_ipv6": 0,
    "net/ipv6/conf/{interface}/accept_dad": 0,
    # No routers: without accept_ra none are solicited (addrconf_dad_completed).
    "net/ipv6/conf/{interface}/accept_ra": 0,
}

#: With the link down: destroys every TCP connection (SOCK_DESTROY, ss(8)). Setting the
#: host's own interface down then deletes its neighbours and the packets queued for them.
_POWER_OFF = """
ss --no-header --tcp --all --kill >/dev/null
left=$(ss --no-header --tcp --all)
test -z "$left" || {{ echo "sockets left: $left" >&2; exit 1; }}
ip link set dev {interface} down
"""

#: Killed programs end immediately; a longer wait is an error. In seconds.
KILL_TIMEOUT_S = 5.0


class StorageHost(KeptNode, Host):
    """A host with one interface and addresses of both IP versions."""

    def __init__(
        self,
        element: Node | Client,
        link: LinkOptions = UNSHAPED,
        sysctls: Mapping[str, int] | None = None,
    ) -> None:
        """Start the host's shell in new namespaces; ``element`` is from the plan.

        ``link``: the shaping of what the host sends. ``sysctls``: settings of its network
        namespace, by their path below /proc/sys.
        """
        self.element = element
        self.link = link
        self.sysctls = sysctls or {}
        super().__init__(element.name)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Only record addresses for Mininet. The script configures the host."""
        interface = self.defaultIntf()
        interface.ip, interface.prefixLen = self.element.ipv4, str(PREFIX4)
        return {}

    def script(self) -> str:
        """The shell script that configures the host; idempotent."""
        lines = [
            *self._sysctls(),
            "ip -batch - <<END",
            *ip_commands(self.element),
            "END",
        ]
        if shaped := [*tc_commands(self.link, self.element.interface)]:
            lines += ["tc -batch - <<END", *shaped, "END"]
        return "\n".join([*lines, ""])

    def reshape_script(self, link: LinkOptions) -> str:
        """The shell script that gives the host that shaping instead of its present one."""
        commands = change_commands(self.link, link, self.element.interface)
        return "\n".join(["tc -batch - <<END", *commands, "END", ""])

    def power_off_script(self) -> str:
        """The shell script that destroys its sockets, after link and programs are down."""
        return _POWER_OFF.format(interface=self.element.interface)

    def kill_programs(self) -> None:
        """Kill every program, and all that it forks meanwhile.

        Raises :class:`TimeoutError` if one does not end.
        """
        while programs := list(self.programs()):
            for program in programs:
                program.send(signal.SIGKILL)
            if not all(each.wait(KILL_TIMEOUT_S) for each in programs):
                raise TimeoutError(f"{self.name}: a killed program does not end")

    def _sysctls(self) -> Iterator[str]:
        for path, value in SYSCTLS.items():
            for interface in ("all", "default", self.element.interface):
                yield f"echo {value} >/proc/sys/{path.format(interface=interface)}"
        for path, value in {**derived_limits(), **self.sysctls}.items():
            yield f"echo {value} >/proc/sys/{path}"


class StorageNode(StorageHost):
    """A storage node: it serves the VIP and holds it on its loopback."""


class StorageClient(StorageHost):
    """A storage client: the VIP is a neighbour on its own link."""
