"""Traffic patterns over loopback: each behaves as described, and loses no write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.clients.client_report import ClientReport, Summary
from nodes.clients.patterns import BURSTS, LARGE, PATTERNS
from tests.nodes.client_bench import PORTS, EchoBench, NbdBench, eventually

pytestmark = [pytest.mark.live, pytest.mark.beside]

CONNECTIONS = 3
LANES = CONNECTIONS + 1
SOON = "--interval-ms=5"


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[EchoBench]:
    """A namespace with an echo server in it."""
    bench = EchoBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def nbd(tmp_path: Path) -> Iterator[NbdBench]:
    """A namespace with nbdkit in it."""
    bench = NbdBench(tmp_path)
    yield bench
    bench.close()


def summary_of(ended: tuple[int, ClientReport]) -> Summary:
    """What a client says that ended well and lost nothing."""
    status, report = ended
    assert status == 0 and report.summary is not None
    summary = report.summary
    assert summary.acknowledged_writes == summary.verified_writes > 0
    assert (summary.hung, summary.disconnected) == (0, 0)
    return summary


def states(bench: EchoBench, port: int) -> set[str]:
    """TCP states of the server's connections."""
    lines = bench.run("ss", "-tnH", f"sport = :{port}").splitlines()
    return {line.split()[0] for line in lines}


def test_port_reuse_comes_back_from_the_same_port(nbd: NbdBench) -> None:
    client = nbd.nbd_client(CONNECTIONS, SOON, "--pattern=port-reuse")
    for count in (CONNECTIONS, 2 * CONNECTIONS):
        nbd.reset(client, nbd.PORT)
        client.wait_for("reconnected", count)
    status, report = client.terminate()
    again = report.of_kind("reconnected")
    assert {(e.conn, e.port) for e in again} == set(enumerate(PORTS[:CONNECTIONS]))
    assert summary_of((status, report)).skipped_ports == 0


def test_half_closed_reads_on_and_is_reset(echo: EchoBench) -> None:
    client = echo.echo_client(CONNECTIONS, SOON, "--pattern=half-closed")
    eventually(lambda: states(echo, echo.PORT) == {"CLOSE-WAIT"})
    echo.run("ss", "-Ktn", "state", "close-wait", f"sport = :{echo.PORT}")
    client.wait_for("reconnected", CONNECTIONS)
    summary = summary_of(client.terminate())
    assert summary.resets == CONNECTIONS


def test_half_closed_receives_nothing_more_and_hangs(echo: EchoBench) -> None:
    client = echo.echo_client(
        CONNECTIONS, SOON, "--pattern=half-closed", "--deadline-s=2"
    )
    eventually(lambda: states(echo, echo.PORT) == {"CLOSE-WAIT"})
    echo.drop(f"tcp dport {PORTS[1]}")
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert report.summary.hung == 1


def test_bursts_close_and_reopen_from_the_next_port(echo: EchoBench) -> None:
    client = echo.echo_client(CONNECTIONS, SOON, "--pattern=bursts")
    opened = client.wait_for("ready")[0].t
    again = client.wait_for("reopened", CONNECTIONS)
    assert {(e.conn, e.port) for e in again} == {
        (conn, PORTS[conn + LANES]) for conn in range(CONNECTIONS)
    }
    assert BURSTS.work_s is not None
    assert min(e.t for e in again) - opened > BURSTS.work_s
    summary = summary_of(client.terminate())
    assert (summary.opened, summary.reopened) == (CONNECTIONS, CONNECTIONS)
    assert (summary.resets, summary.closed, summary.reconnected) == (0, 0, 0)


def test_pipelined_has_several_requests_outstanding(echo: EchoBench) -> None:
    client = echo.echo_client(1, SOON, "--pattern=pipelined")
    echo.drop(f"tcp dport {echo.PORT}")
    request = len(b"00000 000000001\n")
    depth = PATTERNS["pipelined"].depth
    eventually(lambda: _unacknowledged(echo) == depth * request)
    echo.reset(client, echo.PORT)
    client.wait_for("reset")
    echo.pass_all()
    client.wait_for("reconnected")
    summary_of(client.terminate())


def test_large_transfers_take_their_time(echo: EchoBench) -> None:
    client = echo.echo_client(1, SOON, "--pattern=large")
    assert LARGE.request_bytes is not None
    eventually(lambda: _unacknowledged(echo) > 0)
    echo.reset(client, echo.PORT)
    client.wait_for("reconnected")
    assert summary_of(client.terminate()).resets == 1


def _unacknowledged(bench: EchoBench) -> int:
    """Bytes that the one client wrote and its server did not acknowledge."""
    which = ("state", "established", f"dport = :{bench.PORT}")
    lines = bench.run("ss", "-tnH", *which).splitlines()
    return sum(int(line.split()[1]) for line in lines)
