"""The echo service and its clients on a loopback: many, aborted, mute, lied to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.servers.server_ready import wait_listening
from tests.nodes.client_bench import PORTS, EchoBench, eventually

pytestmark = [pytest.mark.live, pytest.mark.beside]

CONNECTIONS = 3
LANES = CONNECTIONS + 1
BUSY = "--interval-ms=5"
#: Longer than a test: the seed puts the first request at an instant in here.
QUIET = "--interval-ms=60000"

#: An echo service with a fault: it answers every request with the first one's answer.
LIAR = """
import socket, sys
connection, _ = socket.create_server(("", int(sys.argv[1]))).accept()
first = connection.recv(4096)
while True:
    connection.sendall(first)
    if not connection.recv(4096):
        break
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[EchoBench]:
    """A namespace with an echo server in it."""
    bench = EchoBench(tmp_path)
    yield bench
    bench.close()


def wait_for_traffic(bench: EchoBench, segments: int = 50) -> None:
    """Until so many more TCP segments went out in the namespace."""
    goal = _segments_out(bench) + segments
    eventually(lambda: _segments_out(bench) >= goal)


def _segments_out(bench: EchoBench) -> int:
    names, values = (
        line.split()
        for line in bench.run("cat", "/proc/thread-self/net/snmp").splitlines()
        if line.startswith("Tcp:")
    )
    return int(values[names.index("OutSegs")])


@pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])
def test_an_undisturbed_run_verifies_everything(bench: EchoBench, ip: int) -> None:
    client = bench.echo_client(CONNECTIONS, BUSY, ip=ip)
    wait_for_traffic(bench)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert report.ports == tuple(PORTS[:CONNECTIONS])
    assert [e.kind for e in report.events] == ["ready", "summary"]
    assert summary.acknowledged_writes == summary.verified_writes > 0
    assert summary.opened == CONNECTIONS


def test_the_same_seed_finds_its_ports_free_in_the_next_run(bench: EchoBench) -> None:
    for _ in range(2):
        status, report = bench.echo_client(CONNECTIONS, QUIET).terminate()
        assert (status, report.ports) == (0, tuple(PORTS[:CONNECTIONS]))


@pytest.mark.parametrize("interval", [BUSY, QUIET], ids=["busy", "quiet"])
def test_reset_connections_reconnect_and_go_on(bench: EchoBench, interval: str) -> None:
    client = bench.echo_client(CONNECTIONS, interval)
    bench.reset(client, bench.PORT)
    again = client.wait_for("reconnected", CONNECTIONS)
    assert {e.conn: (e.fields["old_port"], e.port) for e in again} == {
        conn: (PORTS[conn], PORTS[conn + LANES]) for conn in range(CONNECTIONS)
    }
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.resets, summary.hung) == (CONNECTIONS, 0)


def test_a_request_in_flight_when_the_reset_comes_is_sent_again(
    bench: EchoBench,
) -> None:
    client = bench.echo_client(CONNECTIONS, BUSY)
    bench.drop(f"tcp dport {bench.PORT}")
    bench.wait_for_unacknowledged(bench.PORT, CONNECTIONS)
    bench.reset(client, bench.PORT)
    client.wait_for("reset", CONNECTIONS)
    bench.pass_all()
    client.wait_for("reconnected", CONNECTIONS)
    wait_for_traffic(bench)
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert report.summary.hung == 0


def test_a_broken_connection_may_be_left_alone(bench: EchoBench) -> None:
    client = bench.echo_client(CONNECTIONS, BUSY, "--no-reconnect")
    bench.reset(client, bench.PORT)
    client.wait_for("reset", CONNECTIONS)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.reconnected, summary.disconnected, summary.hung) == (0, 3, 0)


@pytest.mark.parametrize(
    "options", [(BUSY,), (QUIET, "--idle-fraction=1")], ids=["busy", "idle"]
)
def test_a_silent_network_is_hung_and_sigterm_is_honoured(
    bench: EchoBench, options: tuple[str, ...]
) -> None:
    client = bench.echo_client(CONNECTIONS, "--deadline-s=2", *options)
    bench.drop(f"tcp sport {PORTS[1]}")
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.hung, summary.disconnected, summary.lost_writes) == (1, 0, 0)


def test_idle_connections_send_nothing(bench: EchoBench) -> None:
    client = bench.echo_client(CONNECTIONS, BUSY, "--idle-fraction=1")
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert report.summary.acknowledged_writes == 0


def test_a_wrong_answer_is_a_lost_write(bench: EchoBench) -> None:
    liar = bench.start([sys.executable, "-c", LIAR, "7778"])
    eventually(lambda: bench.run("ss", "-tlnH", "sport = :7778"))
    client = bench.echo_client(1, BUSY, "--port=7778")
    (lost, *_) = client.wait_for("lost", 2)
    assert lost.fields["expected"] == repr(b"00000 000000002\n")
    assert lost.fields["found"] == repr(b"00000 000000001\n")
    bench.stop(liar)
    assert client.terminate()[0] == 1


def test_a_server_that_dies_and_returns(bench: EchoBench) -> None:
    client = bench.echo_client(CONNECTIONS, BUSY)
    bench.stop(bench.server)
    client.wait_for("error", CONNECTIONS)
    bench.serve()
    client.wait_for("reconnected", CONNECTIONS)
    assert client.terminate()[0] == 0


def test_a_held_source_port_is_skipped(bench: EchoBench) -> None:
    bench.start(["nbdkit", "-f", f"--port={PORTS[1]}", "null"])
    eventually(lambda: bench.run("ss", "-tlnH", f"sport = :{PORTS[1]}"))
    client = bench.echo_client(CONNECTIONS, BUSY)
    assert client.report.ports == (PORTS[0], PORTS[1 + LANES], PORTS[2])
    (skipped,) = client.report.of_kind("port-skipped")
    assert (skipped.conn, skipped.port) == (1, PORTS[1])


def test_two_thousand_connections(bench: EchoBench) -> None:
    many = 2000
    client = bench.echo_client(many, "--interval-ms=1000", "--open-rate=5000")
    wait_for_traffic(bench, segments=many)
    bench.reset(client, bench.PORT)
    client.wait_for("reconnected", many)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.opened, summary.resets, summary.hung) == (many, many, 0)
    assert summary.acknowledged_writes == summary.verified_writes


def test_every_byte_comes_back_however_slowly_it_is_taken(bench: EchoBench) -> None:
    sent = bytes(range(0x20, 0x7F)) * 100_000
    connection = bench.connect(bench.PORT)
    connection.setblocking(False)
    taken = refused = 0
    while taken < len(sent) and not refused:
        try:
            taken += connection.send(sent[taken:])
        except BlockingIOError:
            refused += 1  # both sides' buffers are full: now take what came back
    connection.settimeout(10)
    received = b""
    while len(received) < taken:
        received += connection.recv(2**20)
    assert received == sent[:taken]


def test_eot_closes_after_the_answer(bench: EchoBench) -> None:
    connection = bench.connect(bench.PORT)
    connection.sendall(b"hello\x04not this")
    received = b""
    while chunk := connection.recv(100):
        received += chunk
    assert received == b"hello"


def test_can_aborts_with_a_reset(bench: EchoBench) -> None:
    connection = bench.connect(bench.PORT)
    connection.sendall(b"hello\x18")
    with pytest.raises(ConnectionResetError):
        while connection.recv(100):
            pass


def test_a_half_closed_connection_still_gets_its_answer(bench: EchoBench) -> None:
    connection = bench.connect(bench.PORT)
    connection.sendall(b"hello")
    connection.shutdown(1)
    assert connection.recv(100) == b"hello"
    assert connection.recv(100) == b""


def test_a_full_server_reports_it_and_continues_when_there_is_room(
    bench: EchoBench,
) -> None:
    bench.stop(bench.server)
    bench.serve("prlimit", "--nofile=32")
    crowd = [bench.connect(bench.PORT) for _ in range(40)]
    (full,) = eventually(lambda: bench.server_report.of_kind("full"))
    served = full.fields["connections"]
    assert 20 <= served < 32
    for connection in crowd:
        connection.sendall(b"x")
    for connection in crowd[:served]:
        assert connection.recv(1) == b"x"
        connection.close()
    for connection in crowd[served:]:
        assert connection.recv(1) == b"x"


def test_both_families_listen_before_it_is_called_ready(bench: EchoBench) -> None:
    wait_listening(bench.server, bench.PORT)
    listeners = bench.run("ss", "-tlnH", f"sport = :{bench.PORT}")
    assert "0.0.0.0:7777" in listeners and "[::]:7777" in listeners


def test_a_port_in_use_is_an_error(bench: EchoBench) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        bench.run(*bench.argv())
    assert failure.value.returncode == 1
