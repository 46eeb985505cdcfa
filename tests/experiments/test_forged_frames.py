"""Forged frames are what scapy would build, and a seed fixes them."""

from __future__ import annotations

import pytest

from experiments.chaos.forged_frames import STRAY_PORTS, forged_resets, frame, strays
from nodes.clients.client_ports import PORT_RANGE
from nodes.guard.scapy_frames import build_frame, dissect
from nodes.guard.segment import Flags, Segment
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC, VIP4, VIP6, VIP_MAC, Plan

CLIENT = Plan.build().clients[0]
V4 = FourTuple(CLIENT.ipv4, 30000, VIP4, 10809)
V6 = FourTuple(CLIENT.ipv6, 30001, VIP6, 10809)


@pytest.mark.parametrize("connection", [V4, V6])
@pytest.mark.parametrize("flags", [Flags.RST, Flags.RST | Flags.ACK, Flags.ACK])
def test_a_frame_is_whole(connection: FourTuple, flags: Flags) -> None:
    """Byte for byte, but for the window and IPv4's identification, which are free."""
    made = frame(connection, flags, (1, 2**32 - 1), CLIENT.mac, VIP_MAC)
    src, sport, dst, dport = connection
    segment = Segment(src, dst, sport, dport, 1, 2**32 - 1, flags)
    assert dissect(made) == segment
    assert len(made) == len(build_frame(segment, CLIENT.mac, VIP_MAC))
    assert made[:14] == build_frame(segment, CLIENT.mac, VIP_MAC)[:14]


@pytest.mark.parametrize("connection", [V4, V6])
def test_its_checksums_are_right(connection: FourTuple) -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    made = frame(connection, Flags.RST, (7, 9), CLIENT.mac, VIP_MAC)
    again = Ether(made)
    for layer in (TCP, IP):
        if layer in again:
            del again[layer].chksum
    assert bytes(again) == made


def test_resets_are_of_the_known_connections_with_and_without_marks() -> None:
    made = list(forged_resets(CLIENT, {V4, V6}, 200, seed=1))
    found = [dissect(one) for one in made]
    assert {one.ingress_connection for one in found if one} == {V4, V6}
    assert any(one.marked for one in found if one)
    assert any(one.relayed for one in found if one)
    assert all(one.flags & Flags.RST for one in found if one)
    assert made == list(forged_resets(CLIENT, {V4, V6}, 200, seed=1))
    assert made != list(forged_resets(CLIENT, {V4, V6}, 200, seed=2))
    assert list(forged_resets(CLIENT, set(), 200, seed=1)) == []


def test_strays_are_of_no_clients_connection() -> None:
    found = [dissect(one) for one in strays(CLIENT, 10809, 100, seed=1)]
    assert all(one and one.flags == Flags.ACK and not one.marked for one in found)
    assert {one.dst for one in found if one} == {VIP4, VIP6}
    assert not set(STRAY_PORTS) & set(PORT_RANGE)
    assert CLIENT.mac != FANOUT_MAC
