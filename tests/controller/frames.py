"""Frames as the switches see them: header fields, all as numbers.

A frame is a mapping from :class:`~controller.flows.entries.Field` to the field's value; a field
that the frame has not (a TCP port in an ARP request) is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from controller.flows.entries import Field
from controller.flows.flow_tables import IPV4, IPV6
from topologies.domain.connection import FourTuple
from topologies.domain.plan import (
    GATEWAY_MAC,
    VIP_MAC,
    Client,
    Node,
    client_address,
    vip,
)

Frame = Mapping[Field, int]

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
PORT = 10809
BROADCAST = "ff:ff:ff:ff:ff:ff"


def number(text: str) -> int:
    """The value of a MAC address or an IP address."""
    if len(text) == 17 and text.count(":") == 5:
        return int(text.replace(":", ""), 16)
    return int(ip_address(text))


def tcp(connection: FourTuple, eth_src: str, eth_dst: str, flags: int = ACK) -> Frame:
    """A TCP segment from ``src`` to ``dst``, of either IP version."""
    version = ip_address(connection.src).version
    family = {4: IPV4, 6: IPV6}[version]
    return {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(eth_src),
        Field.ETH_DST: number(eth_dst),
        Field.ETH_TYPE: {4: 0x0800, 6: 0x86DD}[version],
        Field.IP_FRAG: 0,
        Field.IP_PROTO: 6,
        family.source: number(connection.src),
        family.destination: number(connection.dst),
        Field.TCP_SRC: connection.sport,
        Field.TCP_DST: connection.dport,
        Field.TCP_FLAGS: flags,
    }


def connection(client: Client, sport: int, version: int = 4) -> FourTuple:
    """A connection of that client to the VIP."""
    return FourTuple(client_address(client, version), sport, vip(version), PORT)


def from_client(
    client: Client, sport: int, version: int = 4, flags: int = ACK
) -> Frame:
    """A segment as the client's own kernel sends it."""
    return tcp(connection(client, sport, version), client.mac, VIP_MAC, flags)


def from_node(
    node: Node, client: Client, sport: int, version: int = 4, flags: int = ACK
) -> Frame:
    """A segment of the same connection in the other direction, from that node."""
    src, source_port, dst, port = connection(client, sport, version)
    back = FourTuple(dst, port, src, source_port)
    return tcp(back, node.mac, GATEWAY_MAC, flags)


def icmp_from_client(client: Client, kind: int, version: int = 4) -> Frame:
    """An ICMP message of that type from a client to the VIP."""
    addresses = client_address(client, version), vip(version)
    return _icmp(kind, client.mac, VIP_MAC, *addresses)


def icmp_from_node(node: Node, client: Client, kind: int, version: int = 4) -> Frame:
    """An ICMP message of that type from the VIP, as a node's kernel sends it."""
    addresses = vip(version), client_address(client, version)
    return _icmp(kind, node.mac, GATEWAY_MAC, *addresses)


def _icmp(
    kind: int, eth_src: str, eth_dst: str, source: str, destination: str
) -> Frame:
    version = ip_address(source).version
    family = {4: IPV4, 6: IPV6}[version]
    return {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(eth_src),
        Field.ETH_DST: number(eth_dst),
        Field.ETH_TYPE: {4: 0x0800, 6: 0x86DD}[version],
        Field.IP_FRAG: 0,
        Field.IP_PROTO: family.control.protocol,
        family.source: number(source),
        family.destination: number(destination),
        family.control.type_field: kind,
    }


def arp_request(mac: str, sender: str, target: str) -> Frame:
    """An ARP request for ``target``."""
    return {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(mac),
        Field.ETH_DST: number(BROADCAST),
        Field.ETH_TYPE: 0x0806,
        Field.ARP_OP: 1,
        Field.ARP_SPA: number(sender),
        Field.ARP_TPA: number(target),
        Field.ARP_SHA: number(mac),
        Field.ARP_THA: 0,
    }


def solicitation(mac: str, sender: str, target: str) -> Frame:
    """A neighbour solicitation, as far as our fields can express it."""
    last_bytes = number(target) & 0xFFFFFF
    multicast = number("ff02::1:ff00:0") | last_bytes
    return {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(mac),
        Field.ETH_DST: 0x3333FF000000 | last_bytes,
        Field.ETH_TYPE: 0x86DD,
        Field.IP_FRAG: 0,
        Field.IP_PROTO: 58,
        Field.IPV6_SRC: number(sender),
        Field.IPV6_DST: multicast,
    }


def udp(client: Client) -> Frame:
    """A datagram to the VIP."""
    return {**from_client(client, 5353), Field.IP_PROTO: 17}
