"""The bytes of a frame, for OVS's dummy ports, and back."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import RawPcapReader

from controller.ovs_hash import FourTuple

#: Length of the header of a pcap file.
_EMPTY = 24


def segment(
    connection: FourTuple, eth_src: str, eth_dst: str, flags: str, seq: int = 1
) -> str:
    """A TCP segment as the hexadecimal bytes that ``netdev-dummy/receive`` takes."""
    network = IPv6 if ":" in connection.src else IP
    frame = (
        Ether(src=eth_src, dst=eth_dst)
        / network(src=connection.src, dst=connection.dst)
        / TCP(sport=connection.sport, dport=connection.dport, flags=flags, seq=seq)
    )
    return bytes(frame).hex()


def captured(path: Path) -> list[Packet]:
    """What a dummy port has sent, in order."""
    if not path.exists() or path.stat().st_size <= _EMPTY:
        return []
    return [Ether(data) for data, _ in RawPcapReader(str(path))]
