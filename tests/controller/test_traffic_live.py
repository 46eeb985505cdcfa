"""Frames through a real switch: they arrive byte by byte, and none is lost."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, state
from tests.controller.controllers import ControllerProcess
from tests.controller.dummy_ports import HOSTS, received, segment, send
from tests.controller.frames import connection
from tests.controller.switches import VSwitch, wait_until
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import owner
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FANOUT_MAC, GATEWAY_MAC, VIP_MAC

pytestmark = [pytest.mark.live, pytest.mark.beside]

SPORT = 40001
NODES = tuple(PLAN.nodes)
C1N2 = PLAN.find_node("c1n2")


def reset_from(version: int) -> Packet:
    """The reset by which the guard of c1n2 answers a stray of h1."""
    src, sport, dst, dport = connection(H1, SPORT, version)
    back = FourTuple(dst, dport, src, sport)
    return segment(back, C1N2.mac, GATEWAY_MAC, "R", seq=0x12345678)


def with_right_checksums(frame: Packet) -> bytes:
    """The same frame with recomputed checksums."""
    again = frame.copy()
    del again[TCP].chksum
    if IP in again:
        del again[IP].chksum
    return bytes(again)


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_a_reset_and_its_copies_leave_the_switch_with_right_addresses_and_checksums(
    os_ken: ControllerProcess, cluster: VSwitch, version: int
) -> None:
    os_ken.serve(state())
    send(cluster, "c1n2", reset_from(version))
    everybody = ["h1", *(node.name for node in NODES)]
    wait_until(
        lambda: all(received(cluster, host) for host in everybody), "all have a copy"
    )
    got = {host: received(cluster, host) for host in HOSTS}
    assert {host: len(frames) for host, frames in got.items()} == {
        "h2": 0
    } | dict.fromkeys(everybody, 1)

    [to_client] = got["h1"]
    original = reset_from(version)
    assert (to_client.src, to_client.dst) == (VIP_MAC, H1.mac)
    assert bytes(to_client.payload) == bytes(original.payload)
    network = {4: IP, 6: IPv6}[version]
    for node in NODES:
        [copy] = got[node.name]
        assert (copy.src, copy.dst) == (FANOUT_MAC, node.mac)
        assert (copy[network].src, copy[network].dst) == (
            original[network].dst,
            original[network].src,
        )
        assert (copy[TCP].sport, copy[TCP].dport) == (SPORT, original[TCP].sport)
        assert (copy[TCP].seq, copy[TCP].flags) == (0x12345678, "R")
        assert bytes(copy) == with_right_checksums(copy)


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("balancer", ["modulo", "rendezvous"])
def test_every_connection_goes_to_its_predicted_owner(
    os_ken: ControllerProcess, cluster: VSwitch, version: int, balancer: str
) -> None:
    membership = ALL_IN_SERVICE.with_node("c2n1", NodeState.DRAINED)
    current = state(membership, balancer=balancer)
    os_ken.serve(current)
    sports = range(SPORT, SPORT + 60)
    for sport in sports:
        syn = segment(connection(H1, sport, version), H1.mac, VIP_MAC, "S")
        send(cluster, "h1", syn)
    wait_until(lambda: len(arrived(cluster)) == len(sports), "all have arrived")
    assert arrived(cluster) == {
        sport: owner(PLAN, membership, current.balancer, connection(H1, sport, version))
        for sport in sports
    }


def arrived(switch: VSwitch) -> dict[int, str]:
    """The node that got a client's segment, by the client's port."""
    return {
        frame[TCP].sport: node.name
        for node in NODES
        for frame in received(switch, node.name)
    }


def drained(*names: str) -> Membership:
    """All nodes in service except those."""
    membership = ALL_IN_SERVICE
    for name in names:
        membership = membership.with_node(name, NodeState.DRAINED)
    return membership


SEGMENTS = 300

#: A node leaves, a whole chassis leaves, the other one replaces it.
ROUND = [
    state(drained("c1n2")),
    state(drained("c1n1", "c1n2", "c1n3")),
    state(drained("c2n1", "c2n2", "c2n3")),
    state(ALL_IN_SERVICE.with_chassis_failed("c2")),
    state(),
]


def test_no_segment_is_lost_while_members_join_and_leave(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    """Each segment sent during the changes arrives at exactly one node."""
    os_ken.serve(state())
    enough = threading.Event()

    def turn_over() -> None:
        while not enough.is_set():
            for wanted in ROUND:
                os_ken.client.apply(wanted)

    with ThreadPoolExecutor() as pool:
        events: Future[None] = pool.submit(turn_over)
        try:
            for number in range(SEGMENTS):
                # Few connections, so that there are megaflows to be stale; each
                # segment is known by its sequence number.
                tuple_ = connection(H1, SPORT + number % 20)
                segment_ = segment(tuple_, H1.mac, VIP_MAC, "A", seq=number)
                send(cluster, "h1", segment_)
        finally:
            enough.set()
        events.result()
    wait_until(lambda: len(numbers(cluster)) >= SEGMENTS, "all segments arrive")
    assert sorted(numbers(cluster)) == list(range(SEGMENTS))


def numbers(switch: VSwitch) -> list[int]:
    """Sequence number of every segment that has reached a node."""
    frames = (frame for node in NODES for frame in received(switch, node.name))
    return [frame[TCP].seq for frame in frames if isinstance(frame, Ether)]
