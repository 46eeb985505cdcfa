"""The probes, on real sockets in two network namespaces."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.instruments.probes import Probes
from experiments.instruments.socket_reports import RING_BYTES
from experiments.instruments.socket_table import HeldSocket, sockets_of
from experiments.record.socket_events import (
    RESET_RECEIVED,
    RESET_SENT,
    STATE,
    SocketEvent,
    read_socket_events,
)
from nodes.guard.socket_lookup import SocketLookup
from nodes.guard.verdict import Status
from nodes.kernel.network_namespace import netns_inode
from nodes.kernel.socket_dump import SocketDump
from tests.experiments.two_hosts import (
    DEADLINE_S,
    JsonLines,
    TwoHosts,
    running,
    two_hosts,
)
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6

pytestmark = [pytest.mark.live, pytest.mark.beside]
PORT = 20809
ABORT_ON_CLOSE = b"\1" + bytes(7)


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


@contextmanager
def probing(folder: Path, port: int) -> Iterator[tuple[JsonLines, str]]:
    """The probes at work on that port, and the file that they will write."""
    output = str(folder / "sockets.jsonl")
    arguments = ("--output", output, "--port", str(port))
    with running("experiments.instruments.probes", *arguments) as probes:
        assert probes.read()["event"] == "ready"
        yield probes, output


def lives(events: list[SocketEvent], at_client: bool) -> list[str]:
    """What happened to the one socket at that end, in order."""
    return [
        f"{e.old}>{e.new}" if e.kind == STATE else e.kind
        for e in events
        if e.at_client == at_client and "LISTEN" not in (e.new, e.old)
    ]


def aborted(hosts: TwoHosts, family: int) -> tuple[int, int]:
    """One connection that its server aborts: source and destination port."""
    with hosts.listen(family, PORT) as server, hosts.connect(server, family) as client:
        served, _ = server.accept()
        ports = client.getsockname()[1], PORT
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT_ON_CLOSE)
        served.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    return ports


@pytest.mark.parametrize(
    ("family", "vip"), [(socket.AF_INET, VIP4), (socket.AF_INET6, VIP6)]
)
def test_a_reset_is_seen_at_both_ends(
    hosts: TwoHosts, tmp_path: Path, family: int, vip: str
) -> None:
    with probing(tmp_path, PORT) as (probes, output):
        before = time.time_ns()
        ports = aborted(hosts, family)
        after = time.time_ns()
        summary = probes.end()
    assert summary["lost"] == 0
    events = list(read_socket_events(output))
    assert summary["events"] == len(events)
    assert all(before < event.time_ns < after for event in events)
    assert lives(events, at_client=True) == [
        "CLOSE>SYN_SENT",
        "SYN_SENT>ESTABLISHED",
        RESET_RECEIVED,
        "ESTABLISHED>CLOSE",
    ]
    assert lives(events, at_client=False)[-2:] == ["ESTABLISHED>CLOSE", RESET_SENT]
    received = next(event for event in events if event.kind == RESET_RECEIVED)
    assert received.connection is not None
    assert (received.connection.sport, received.connection.dport) == ports
    assert received.connection.dst == vip


def test_a_reset_without_a_socket_is_not_reported(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    with probing(tmp_path, PORT) as (probes, output):
        client = hosts.at(hosts.client, socket.socket)
        with client, pytest.raises(ConnectionRefusedError):
            client.connect((VIP4, PORT))
        probes.end()
    events = [event.kind for event in read_socket_events(output)]
    assert RESET_RECEIVED in events
    assert RESET_SENT not in events


def test_each_socket_is_on_its_host_and_those_elsewhere_are_left_out(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    with probing(tmp_path, PORT) as (probes, output):
        aborted(hosts, socket.AF_INET)
        probes.say({"hosts": {netns_inode(hosts.node): "c1n1"}})
        assert probes.read()["event"] == "named"
        summary = probes.end()
    events = list(read_socket_events(output))
    assert {event.host for event in events} == {"c1n1"}
    assert not any(event.at_client for event in events)
    assert summary["elsewhere"] >= 4  # the client's, at least


def test_other_ports_are_not_reported(hosts: TwoHosts, tmp_path: Path) -> None:
    with probing(tmp_path, 9) as (probes, _):
        with (
            hosts.listen(socket.AF_INET, PORT) as server,
            hosts.connect(server, socket.AF_INET),
        ):
            pass
        assert probes.end()["events"] == 0


def test_a_full_ring_loses_reports_and_counts_them(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    """The ring has room for 233,016 reports; nobody reads it here."""
    with tempfile.TemporaryFile() as spool:
        probes = Probes(spool, [PORT])
        probes.enable()
        with hosts.listen(socket.AF_INET, PORT) as server:
            hosts.connect(server, socket.AF_INET).close()
        read = probes._ring._read
        begun = read[0]
        read[0] = (begun - RING_BYTES + 1024) % 2**64  # as if nearly all were unread
        with hosts.listen(socket.AF_INET, PORT) as server:
            for _ in range(30):
                hosts.connect(server, socket.AF_INET).close()
        read[0] = begun
        summary = probes.write(str(tmp_path / "o"))
        probes.close()
    assert 0 < summary["events"] < 8 + 1024 // 72
    assert summary["lost"] > 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_socket_table_shows_what_a_namespace_holds(
    hosts: TwoHosts, family: int
) -> None:
    with (
        hosts.listen(family, PORT) as server,
        hosts.connect(server, family) as client,
        server.accept()[0] as served,
    ):
        name = (*client.getsockname()[:2], *server.getsockname()[:2])
        held = HeldSocket(name, "ESTABLISHED")  # type: ignore[arg-type]
        assert list(sockets_of(hosts.node)) == [held]
        assert list(sockets_of(hosts.client)) == [held]
        assert list(sockets_of(hosts.node, {"CLOSE_WAIT"})) == []
        client.shutdown(socket.SHUT_WR)
        assert served.recv(1) == b""
        assert list(sockets_of(hosts.node)) == [HeldSocket(held[0], "CLOSE_WAIT")]
        assert list(sockets_of(os.getpid())) == []


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_its_server_has_closed_is_not_held_though_its_client_has_not(
    hosts: TwoHosts, family: int
) -> None:
    """The kernel shows the rest of it as FIN_WAIT2: a minisocket, which holds nothing."""
    with (
        hosts.listen(family, PORT) as server,
        hosts.connect(server, family) as client,
    ):
        server.accept()[0].close()
        assert client.recv(1) == b""
        name = FourTuple(*client.getsockname()[:2], *server.getsockname()[:2])
        deadline = time.monotonic() + DEADLINE_S
        while list(sockets_of(hosts.node)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(sockets_of(hosts.node)) == []
        assert HeldSocket(name, "TIME_WAIT") in list(
            sockets_of(hosts.node, {"TIME_WAIT"})
        )
        assert hosts.at(hosts.node, SocketLookup).find(name).status is Status.TIME_WAIT
        assert list(hosts.at(hosts.node, SocketDump).connections()) == []
