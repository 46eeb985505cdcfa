"""Frames at a client's port, as scapy builds them, become the dialogues they belong to."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from experiments.analysis.client_wire import ClientWire
from experiments.analysis.dialogue import Wait
from experiments.record.pcapng import CapturedPacket
from topologies.domain.connection import FourTuple
from topologies.domain.plan import GATEWAY_MAC, VIP4, VIP6, VIP_MAC

CLIENT = {4: "10.1.0.1", 6: "fd00:10:1::1"}
VIP = {4: VIP4, 6: VIP6}
SNAPLEN = 100
#: Both named, or scapy would ask the machine's own network for them.
ETHERNET = Ether(src=GATEWAY_MAC, dst=VIP_MAC)


class Port:
    """A client's port on the fabric."""

    def __init__(self, version: int) -> None:
        self.wire = ClientWire()
        self.version = version

    def up(self, at: int, flags: str, seq: int, data: int = 0, **more: Any) -> bool:
        """A segment of the client."""
        ends = CLIENT[self.version], VIP[self.version]
        tcp = TCP(sport=20001, dport=10809, flags=flags, seq=seq, **more)
        return self.see(at, False, self.network(*ends) / tcp / bytes(data))

    def down(self, at: int, flags: str, seq: int, ack: int, data: int = 0) -> bool:
        """A segment to the client."""
        ends = VIP[self.version], CLIENT[self.version]
        tcp = TCP(sport=10809, dport=20001, flags=flags, seq=seq, ack=ack)
        return self.see(at, True, self.network(*ends) / tcp / bytes(data))

    def network(self, src: str, dst: str) -> Packet:
        return IP(src=src, dst=dst) if self.version == 4 else IPv6(src=src, dst=dst)

    def see(self, at: int, outgoing: bool, packet: Packet) -> bool:
        data = bytes(ETHERNET / packet)
        seen = memoryview(data[:SNAPLEN])
        return self.wire.handle(CapturedPacket(1, 0, at, outgoing, len(data), seen))

    def open(self, at: int, isn: int = 100) -> None:
        self.up(at, "S", isn)
        self.down(at + 1, "SA", 700, isn + 1)

    def waits(self) -> list[list[Wait]]:
        """The waits of each connection with these ports."""
        ends = (CLIENT[self.version], 20001, VIP[self.version], 10809)
        lives = self.wire.dialogues().get(FourTuple(*ends), [])
        return [life.waits(10_000, False) for life in lives]


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def port(request: pytest.FixtureRequest) -> Port:
    return Port(request.param)


def test_an_exchange(port: Port) -> None:
    port.open(1)
    port.up(10, "PA", 101, 2000)
    port.down(15, "A", 701, 2101)  # acknowledged is not answered
    port.down(40, "PA", 701, 2101, 64)
    assert port.waits() == [[Wait(10, 40)]]


def test_the_tcp_header_does_not_count_as_data(port: Port) -> None:
    port.open(1)
    port.up(10, "A", 101, options=[("Timestamp", (1, 2))])
    assert port.waits() == [[]]


def test_an_answer_without_push_is_unfinished(port: Port) -> None:
    port.open(1)
    port.up(10, "PA", 101, 9)
    port.down(12, "A", 701, 110, 64)
    assert port.waits() == [[Wait(10, 12), Wait(12, 10_000, over=False)]]


def test_a_new_connection_of_the_same_ports_begins_with_its_syn(port: Port) -> None:
    port.open(1)
    port.up(10, "PA", 101, 9)
    port.up(20, "S", 9000)
    port.up(21, "S", 9000)  # sent again
    port.down(22, "SA", 50, 9001)
    port.up(30, "PA", 9001, 9)
    port.down(37, "PA", 51, 9010, 9)
    assert port.waits() == [[Wait(10, 10_000, over=False)], [Wait(30, 37)]]


def test_a_reset_is_no_answer(port: Port) -> None:
    port.open(1)
    port.up(10, "PA", 101, 9)
    port.down(12, "R", 701, 110)
    port.up(13, "R", 110)
    assert port.waits() == [[Wait(10, 10_000, over=False)]]


def test_a_fin_with_data_is_a_request_or_an_answer(port: Port) -> None:
    port.open(1)
    port.up(10, "FPA", 101, 9)
    port.down(12, "FPA", 701, 111, 9)
    assert port.waits() == [[Wait(10, 12)]]


@pytest.mark.parametrize("flags", ["S", "SA", "R", "RA", "FA"])
def test_syn_fin_and_rst_segments_are_left_to_other_parsers_too(
    port: Port, flags: str
) -> None:
    assert not port.up(1, flags, 5)
    assert not port.down(1, flags, 5, 5)


def test_segments_with_data_are_consumed(port: Port) -> None:
    assert port.up(1, "PA", 5, 9)
    assert port.down(1, "A", 5, 5, 9)
    assert port.waits() == []


@pytest.mark.parametrize(
    "packet", [ARP(), IP() / UDP(), IPv6() / UDP()], ids=["arp", "udp4", "udp6"]
)
def test_other_protocols_are_left_to_other_parsers(packet: Packet) -> None:
    assert not Port(4).see(1, False, packet / bytes(60))


def test_segments_to_other_addresses_are_ignored() -> None:
    port = Port(4)
    port.see(1, False, IP(src="10.1.0.1", dst="10.9.9.9") / TCP(flags="S") / b"")
    assert port.wire.dialogues() == {}
