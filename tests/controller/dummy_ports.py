"""Frames, as bytes, into the dummy ports of a switch and out of them."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import RawPcapReader

from tests.controller.clusters import PLAN
from tests.controller.switches import VSwitch
from topologies.domain.connection import FourTuple

#: Length of an empty pcap file: its header.
_EMPTY = 24

_INTERFACES = {client.name: client.fabric_interface for client in PLAN.clients} | {
    node.name: node.switch_interface for node in PLAN.nodes
}
#: Every host of the plan.
HOSTS = list(_INTERFACES)


def segment(
    connection: FourTuple, eth_src: str, eth_dst: str, flags: str, seq: int = 1
) -> Packet:
    """A TCP segment of either IP version, with its checksums."""
    network = IPv6 if ":" in connection.src else IP
    return Ether(
        bytes(
            Ether(src=eth_src, dst=eth_dst)
            / network(src=connection.src, dst=connection.dst)
            / TCP(sport=connection.sport, dport=connection.dport, flags=flags, seq=seq)
        )
    )


def send(switch: VSwitch, host: str, frame: Packet) -> None:
    """Have the switch receive a frame from a host."""
    switch.appctl("netdev-dummy/receive", _INTERFACES[host], bytes(frame).hex())


def received(switch: VSwitch, host: str) -> list[Packet]:
    """Every frame that the switch has sent to a host, in order."""
    path = switch.directory / f"{host}.pcap"
    if not path.exists() or path.stat().st_size <= _EMPTY:
        return []
    return [Ether(data) for data, _ in RawPcapReader(str(path))]
