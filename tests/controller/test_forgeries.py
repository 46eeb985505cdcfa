"""Frames that a port may not send are dropped, and a fan-out mark alone has no effect."""

from __future__ import annotations

import pytest

from controller.flows.entries import Field
from tests.controller.clusters import H1, H2, PLAN, network, state
from tests.controller.frames import (
    ACK,
    RST,
    SYN,
    Frame,
    connection,
    from_client,
    from_node,
    number,
    tcp,
    udp,
)
from topologies.domain.plan import FANOUT_MAC, GATEWAY_MAC, UPLINK_PORT, VIP4, VIP_MAC

C1N1, C1N2 = tuple(PLAN.nodes)[:2]
SPORT = 40001

every_policy = pytest.mark.parametrize("policy", ["drop", "client-only", "flood"])

OWN = from_client(H1, SPORT)
FORGED = {
    "mark as its source MAC": {Field.ETH_SRC: number(FANOUT_MAC)},
    "another client's MAC": {Field.ETH_SRC: number(H2.mac)},
    "another client's address": {Field.IP_SRC: number(H2.ipv4)},
    "the VIP as its address": {Field.IP_SRC: number(VIP4)},
    "to another address": {Field.IP_DST: number(C1N1.ipv4)},
    "to another client": {Field.IP_DST: number(H2.ipv4)},
    "to a node's MAC": {Field.ETH_DST: number(C1N1.mac)},
    "to the gateway's MAC": {Field.ETH_DST: number(GATEWAY_MAC)},
    "VLAN tag": {Field.VLAN_TCI: 0x1005},
    "priority tag": {Field.VLAN_TCI: 0x1000},
    "first fragment": {Field.IP_FRAG: 1},
    "later fragment": {Field.IP_FRAG: 3},
    "unknown EtherType": {Field.ETH_TYPE: 0x88B5},
    "UDP": {Field.IP_PROTO: 17},
    "ICMP": {Field.IP_PROTO: 1},
}


@every_policy
@pytest.mark.parametrize("flags", [ACK, RST], ids=["ack", "rst"])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_frames_of_a_client_are_dropped(
    forged: Frame, flags: int, policy: str
) -> None:
    frame = {**OWN, Field.TCP_FLAGS: flags, **forged}
    assert network(state(policy=policy)).send("h1", frame) == []


def test_a_datagram_is_dropped() -> None:
    assert network(state()).send("h1", udp(H1)) == []


FROM_NODE = from_node(C1N1, H1, SPORT, flags=RST)
SPOOFED = {
    "mark as its source MAC": {Field.ETH_SRC: number(FANOUT_MAC)},
    "another node's MAC": {Field.ETH_SRC: number(C1N2.mac)},
    "its own address": {Field.IP_SRC: number(C1N1.ipv4)},
    "a client's address": {Field.IP_SRC: number(H1.ipv4)},
    "to the VIP's MAC": {Field.ETH_DST: number(VIP_MAC)},
    "to another node's MAC": {Field.ETH_DST: number(C1N2.mac)},
    "VLAN tag": {Field.VLAN_TCI: 0x1005},
    "fragment": {Field.IP_FRAG: 1},
    "UDP": {Field.IP_PROTO: 17},
}


@every_policy
@pytest.mark.parametrize("spoofed", SPOOFED.values(), ids=SPOOFED)
def test_forged_frames_of_a_node_are_dropped(spoofed: Frame, policy: str) -> None:
    frame = {**FROM_NODE, **spoofed}
    assert network(state(policy=policy)).send("c1n1", frame) == []


@every_policy
@pytest.mark.parametrize("flags", [ACK, RST | ACK, SYN], ids=["ack", "rst+ack", "syn"])
def test_a_mark_on_anything_but_a_not_recognised_reset_stops_at_the_chassis(
    flags: int, policy: str
) -> None:
    chassis = network(state(policy=policy)).switches["c1"]
    frame = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, flags)
    assert chassis.process(frame, UPLINK_PORT) == []


@pytest.mark.parametrize("policy", ["drop", "client-only"])
def test_a_late_copy_stops_at_a_chassis_that_has_left_the_flood_policy(
    policy: str,
) -> None:
    chassis = network(state(policy=policy)).switches["c1"]
    copy = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, RST)
    assert chassis.process(copy, UPLINK_PORT) == []
