"""Which node holds a socket, when 4-tuples are not enough to tell."""

from __future__ import annotations

import pytest

from controller.ovs_hash import FourTuple
from experiments.analysis.observations import ACK, SYN
from experiments.analysis.socket_states import SocketLife, socket_lives
from experiments.analysis.whereabouts import attributed
from tests.experiments.packet_path import MS, START, US, PacketPath
from topologies.plan import Plan

CONNECTION = FourTuple("10.1.0.1", 20001, "10.0.0.1", 10809)
PLAN = Plan.build(2, 3, 1)
NODES = frozenset(node.name for node in PLAN.nodes)


@pytest.fixture
def path() -> PacketPath:
    return PacketPath(PLAN)


def found(path: PacketPath) -> list[SocketLife]:
    return attributed(socket_lives(path.socket_events()), path.observations(), NODES)


def hosts(path: PacketPath) -> list[str | None]:
    return [life.host for life in found(path) if not life.at_client]


def test_each_of_two_nodes_with_the_same_connection(path: PacketPath) -> None:
    path.open(CONNECTION, "c1n2", 0)
    path.open(CONNECTION, "c2n1", 100 * MS)
    assert hosts(path) == ["c1n2", "c2n1"]


def test_sockets_of_another_cluster_are_left_out(path: PacketPath) -> None:
    other = PacketPath(PLAN, _next_socket=0x1000)
    other.open(CONNECTION, "c1n1", 40 * MS)
    path.open(CONNECTION, "c1n2", 0)
    path.events += other.events  # the kernel reports both, we captured one
    assert hosts(path) == ["c1n2"]
    assert [life.opened_ns for life in found(path) if life.at_client] == [START]


def test_another_clusters_socket_that_came_first_is_left_out(path: PacketPath) -> None:
    other = PacketPath(PLAN, _next_socket=0x1000)
    other.open(CONNECTION, "c1n1", 0)
    path.open(CONNECTION, "c1n2", 40 * MS)
    path.events += other.events
    assert hosts(path) == ["c1n2"]
    opened = [life.opened_ns for life in found(path) if life.at_client]
    assert opened == [START + 40 * MS]


def test_a_repeated_answer_opens_no_second_socket(path: PacketPath) -> None:
    path.open(CONNECTION, "c1n2", 0)
    syn_ack = next(
        one for one in path.segments if one.flags == SYN | ACK and one.label == "c1n2"
    )
    path.segments.append(syn_ack._replace(time_ns=syn_ack.time_ns + 1000 * MS))
    other = PacketPath(PLAN, _next_socket=0x1000)
    other.open(CONNECTION, "c1n1", 1001 * MS)
    path.events += other.events
    assert hosts(path) == ["c1n2"]


def test_sockets_from_before_are_kept_without_a_host(path: PacketPath) -> None:
    path.open(CONNECTION, "c1n2", 0)
    path.freed(CONNECTION, "c1n2", MS)
    path.events = [one for one in path.events if one.time_ns > START + 300 * US]
    path.segments = []
    assert hosts(path) == [None]
