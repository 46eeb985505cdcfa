"""The TCP segments of a capture file, one small record each."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import IPv6Address
from socket import inet_ntoa
from types import MappingProxyType
from typing import NamedTuple

from experiments.analysis.epochs import END_OF_TIME
from experiments.record.pcapng import CapturedPacket, open_pcapng
from topologies.domain.connection import FourTuple, connection_of

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"))

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BxHxxxxxBxx4s4s")  # first byte, length, protocol, addresses
_IPV6 = struct.Struct("!4xHBx16s16s")  # payload length, next header, addresses
_TCP = struct.Struct("!HHIIBB")
_TCP_PROTOCOL = 6


class Observation(NamedTuple):
    """One TCP segment, captured at one interface.

    ``frame``: its number in the capture file, from 1. ``time_ns``: CLOCK_REALTIME.
    ``label``: the interface's (see :mod:`experiments.record.capture_points`).
    ``outgoing``: the interface's owner sent it. ``payload``: its bytes of data, also
    those that were not captured.
    """

    frame: int
    time_ns: int
    label: str
    outgoing: bool
    eth_src: str
    eth_dst: str
    src: str
    sport: int
    dst: str
    dport: int
    seq: int
    ack: int
    flags: int
    payload: int

    @property
    def connection(self) -> FourTuple | None:
        """The connection it belongs to; None if neither end is the VIP."""
        return connection_of(self.src, self.sport, self.dst, self.dport)

    @property
    def not_recognised(self) -> bool:
        """Whether it is a "not recognised" reset: RST without ACK, SYN or FIN.

        RFC 9293, 3.10.7.1: the reset for a segment with ACK carries no ACK.
        """
        return self.flags & (RST | ACK | SYN | FIN) == RST

    @property
    def flag_names(self) -> str:
        """Its flags as text, e.g. ``SYN,ACK``, without ``PSH``."""
        shown = self.flags & ~PSH
        return ",".join(name for bit, name in _NAMES if shown & bit)


def is_syn_ack(observation: Observation, nodes: Collection[str]) -> bool:
    """Whether it is a SYN,ACK that leaves a node. ``nodes``: the nodes' labels."""
    handshake = observation.flags & (SYN | RST | ACK) == SYN | ACK
    return handshake and observation.outgoing and observation.label in nodes


def read_observations(
    path: str,
    until_ns: int = END_OF_TIME,
    handlers: Mapping[str, Callable[[CapturedPacket], bool]] = MappingProxyType({}),
) -> Iterator[Observation]:
    """Every TCP segment of a capture file before ``until_ns``, in the order of time.

    ``handlers``: label -> a function that gets each packet of that interface first; where
    it returns True, the packet is left out. Raises :class:`OSError` or
    :class:`~experiments.record.pcapng.PcapngError`.
    """
    with open_pcapng(path) as reader:
        labels = reader.interfaces
        for packet in reader.packets():
            if packet.time_ns >= until_ns:
                return  # the file is sorted by time
            label = labels[packet.interface].label
            if label in handlers and handlers[label](packet):
                continue
            observation = parse_packet(label, packet)
            if observation:
                yield observation


def parse_packet(label: str, packet: CapturedPacket) -> Observation | None:
    """The segment in a packet; None if it is not TCP over IPv4 or IPv6."""
    data = packet.data
    eth_dst, eth_src, kind = _ETHERNET.unpack_from(data)
    network = _NETWORKS.get(kind)
    layer = network(data) if network else None
    if layer is None:
        return None
    at, end, src, dst = layer
    sport, dport, seq, ack, offset, flags = _TCP.unpack_from(data, at)
    return Observation(
        packet.frame,
        packet.time_ns,
        label,
        packet.outgoing,
        _mac(eth_src),
        _mac(eth_dst),
        src,
        sport,
        dst,
        dport,
        seq,
        ack,
        flags,
        end - at - (offset >> 4) * 4,
    )


#: Where TCP starts, where the IP packet ends, source, destination.
_Layer = tuple[int, int, str, str]


def _ipv4(data: memoryview) -> _Layer | None:
    first, length, protocol, src, dst = _IPV4.unpack_from(data, 14)
    if protocol != _TCP_PROTOCOL:
        return None
    return 14 + (first & 15) * 4, 14 + length, _address4(src), _address4(dst)


def _ipv6(data: memoryview) -> _Layer | None:
    length, protocol, src, dst = _IPV6.unpack_from(data, 14)
    if protocol != _TCP_PROTOCOL:
        return None
    return 54, 54 + length, _address6(src), _address6(dst)


_NETWORKS: dict[int, Callable[[memoryview], _Layer | None]] = {
    0x0800: _ipv4,
    0x86DD: _ipv6,
}

# A capture has few addresses, many times each: the text of each is made and kept once.
_address4 = functools.lru_cache(4096)(inet_ntoa)


@functools.lru_cache(4096)
def _address6(packed: bytes) -> str:
    return str(IPv6Address(packed))


@functools.lru_cache(4096)
def _mac(packed: bytes) -> str:
    return packed.hex(":")
