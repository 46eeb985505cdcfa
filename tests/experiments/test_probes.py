"""The probes, on real sockets in two network namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.instruments.perf_ring import PerfRing, samples_of
from experiments.instruments.probes import filter_expression
from experiments.instruments.socket_events import (
    RESET_RECEIVED,
    RESET_SENT,
    STATE,
    SocketEvent,
    read_socket_events,
)
from experiments.instruments.socket_table import HeldSocket, sockets_of
from experiments.instruments.tracepoint import Tracepoint
from tests.experiments.two_hosts import DEADLINE_S, TwoHosts, running, two_hosts
from topologies.plan import VIP4, VIP6

pytestmark = pytest.mark.live
PORT = 20809  # nobody else's: the probes hear the whole machine
ABORT_ON_CLOSE = b"\1" + bytes(7)


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="module")
def tracefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tracefs")
    subprocess.run(["mount", "-t", "tracefs", "tracefs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


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
    hosts: TwoHosts, tracefs: Path, tmp_path: Path, family: int, vip: str
) -> None:
    output = str(tmp_path / "sockets.jsonl")
    arguments = ("--output", output, "--port", str(PORT), "--tracefs", str(tracefs))
    for _ in range(5):  # where the kernel lost an event it is said, and nothing follows
        with running("experiments.instruments.probes", *arguments) as probes:
            assert probes.read()["event"] == "ready"
            before = time.time_ns()
            ports = aborted(hosts, family)
            after = time.time_ns()
            summary = probes.end()
        if not summary["lost"]:
            break
    else:
        pytest.fail("the kernel loses events each time")

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


def test_a_reset_without_a_socket_names_its_sender(
    hosts: TwoHosts, tracefs: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "sockets.jsonl")
    arguments = ("--output", output, "--port", str(PORT), "--tracefs", str(tracefs))
    with running("experiments.instruments.probes", *arguments) as probes:
        probes.read()
        client = hosts.at(hosts.client, socket.socket)
        with client, pytest.raises(ConnectionRefusedError):
            client.connect((VIP4, PORT))
        probes.end()
    sent = [e for e in read_socket_events(output) if e.kind == RESET_SENT]
    assert [(event.socket, event.local) for event in sent] == [(0, (VIP4, PORT))]


def test_other_ports_are_not_reported(
    hosts: TwoHosts, tracefs: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "sockets.jsonl")
    arguments = ("--output", output, "--port", "9", "--tracefs", str(tracefs))
    with running("experiments.instruments.probes", *arguments) as probes:
        probes.read()
        with (
            hosts.listen(socket.AF_INET, PORT) as server,
            hosts.connect(server, socket.AF_INET),
        ):
            pass
        assert probes.end()["events"] == 0


def test_without_tracefs_it_says_so(tmp_path: Path) -> None:
    arguments = ("--output", str(tmp_path / "o"), "--port", "9")
    with running(
        "experiments.instruments.probes", *arguments, "--tracefs", str(tmp_path)
    ) as probes:
        assert probes.process.wait(DEADLINE_S) == 3


@pytest.fixture
def cpu() -> Iterator[int]:
    """The one CPU that this process stays on."""
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(home)})
    yield min(home)
    os.sched_setaffinity(0, home)


def recorded(
    hosts: TwoHosts, tracefs: Path, cpu: int, port: int, ring_bytes: int = 4096
) -> tuple[int, int]:
    """Events (kept in the ring, counted) of 30 connections to PORT."""
    tracepoint = Tracepoint.load(tracefs, "sock:inet_sock_set_state")
    ring = PerfRing(cpu, ring_bytes)
    try:
        ring.add(tracepoint.id, filter_expression(tracepoint, [port]))
        ring.enable()
        with hosts.listen(socket.AF_INET, PORT) as server:
            for _ in range(30):
                hosts.connect(server, socket.AF_INET).close()
        ring.disable()
        return len(list(samples_of(ring.take()))), sum(ring.counted())
    finally:
        ring.close()


def test_lost_events_are_counted(hosts: TwoHosts, tracefs: Path, cpu: int) -> None:
    kept, counted = recorded(hosts, tracefs, cpu, PORT)
    assert 0 < kept < counted


def test_a_ring_with_room_loses_nothing(
    hosts: TwoHosts, tracefs: Path, cpu: int
) -> None:
    kept, counted = recorded(hosts, tracefs, cpu, PORT, ring_bytes=1 << 20)
    assert 0 < kept == counted


def test_the_kernel_filters_by_port(hosts: TwoHosts, tracefs: Path, cpu: int) -> None:
    assert recorded(hosts, tracefs, cpu, PORT + 1) == (0, 0)


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
