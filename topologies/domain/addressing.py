"""The addresses, neighbours and routes of a host, as commands of ip(8); pure."""

from __future__ import annotations

from collections.abc import Iterator

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


def ip_commands(host: Node | Client) -> Iterator[str]:
    """The commands for ip(8) that configure a host with its one interface; idempotent.

    A node holds the VIP on its loopback, and has a gateway to the clients. A client resolves
    the VIP's IPv4 address by ARP. Its IPv6 neighbour entry is permanent, because a switch
    on the kernel datapath cannot answer for it (:mod:`controller.flows.arp`).
    """
    device = f"dev {host.interface}"
    yield "link set dev lo up"
    yield f"address replace {host.ipv4}/{PREFIX4} {device}"
    yield f"address replace {host.ipv6}/{PREFIX6} {device}"
    if isinstance(host, Node):
        yield f"address replace {VIP4}/32 dev lo"
        yield f"address replace {VIP6}/128 dev lo"
    yield f"link set {device} up"
    if isinstance(host, Client):
        yield f"neigh replace {VIP6} lladdr {VIP_MAC} nud permanent {device}"
        return
    for gateway, clients in ((GATEWAY4, CLIENTS4), (GATEWAY6, CLIENTS6)):
        yield f"neigh replace {gateway} lladdr {GATEWAY_MAC} nud permanent {device}"
        yield f"route replace {clients} via {gateway} {device} onlink"
