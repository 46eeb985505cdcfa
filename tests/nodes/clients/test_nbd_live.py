"""NBD clients against nbdkit on a loopback: broken connections, damage, silence."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.clients.block_log import BlockWrite
from nodes.clients.nbd_session import NbdSession
from nodes.servers.server_ready import wait_listening
from tests.nodes.client_bench import (
    BLOCK_SIZE,
    BLOCKS,
    PORTS,
    NbdBench,
    eventually,
)

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: Connections of these tests' clients, and the slots they deal source ports to.
CONNECTIONS = 3
LANES = CONNECTIONS + 1
#: As many as the backing file has room for.
MANY = 2**20 // (BLOCKS * BLOCK_SIZE)
#: Longer than a test: after its first write a connection is idle.
IDLE = "--interval-ms=60000"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[NbdBench]:
    """A namespace with nbdkit in it."""
    bench = NbdBench(tmp_path)
    yield bench
    bench.close()


def wait_for_writes(bench: NbdBench, conns: range, more: int = 2 * BLOCKS) -> None:
    """Until each of these connections has written so many more blocks."""
    goals = {conn: bench.generation(conn) + more for conn in conns}
    eventually(lambda: all(bench.generation(c) >= goal for c, goal in goals.items()))


@pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])
def test_an_undisturbed_run_verifies_everything(bench: NbdBench, ip: int) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5", ip=ip)
    wait_for_writes(bench, range(CONNECTIONS))
    status, report = client.terminate()
    assert status == 0
    assert report.ports == tuple(PORTS[:CONNECTIONS])
    assert [e.kind for e in report.events] == ["ready", "summary"]
    summary = report.summary
    assert summary is not None
    assert summary.acknowledged_writes == summary.verified_writes
    written = sum(bench.generation(conn) + 1 for conn in range(CONNECTIONS))
    assert summary.acknowledged_writes == written


def test_the_same_seed_finds_its_ports_free_in_the_next_run(bench: NbdBench) -> None:
    for _ in range(2):
        status, report = bench.nbd_client(MANY, IDLE).terminate()
        assert (status, report.ports) == (0, tuple(PORTS[:MANY]))


def test_reset_connections_reconnect_and_lose_nothing(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5")
    wait_for_writes(bench, range(CONNECTIONS))
    bench.reset(client, bench.PORT)
    again = client.wait_for("reconnected", CONNECTIONS)
    assert {e.conn: e.port for e in again} == {
        conn: PORTS[conn + LANES] for conn in range(CONNECTIONS)
    }
    wait_for_writes(bench, range(CONNECTIONS))
    status, report = client.terminate()
    assert status == 0
    assert [e.port for e in sorted(report.of_kind("reset"), key=lambda e: e.conn)] == [
        *PORTS[:CONNECTIONS]
    ]
    summary = report.summary
    assert summary is not None
    assert (summary.opened, summary.resets, summary.reconnected) == (3, 3, 3)
    assert summary.acknowledged_writes == summary.verified_writes


def test_a_write_in_flight_when_the_reset_comes_is_done_again(
    bench: NbdBench,
) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5")
    bench.drop(f"tcp dport {bench.PORT} meta length >= {BLOCK_SIZE}")  # writes only
    bench.wait_for_unacknowledged(bench.PORT, CONNECTIONS)
    bench.reset(client, bench.PORT)
    client.wait_for("reset", CONNECTIONS)
    bench.pass_all()
    wait_for_writes(bench, range(CONNECTIONS))
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    written = sum(bench.generation(conn) + 1 for conn in range(CONNECTIONS))
    assert report.summary.acknowledged_writes == written, "none was passed over"


def test_a_reset_found_while_sending_is_a_reset(bench: NbdBench) -> None:
    async def write_after_reset() -> None:
        session = NbdSession(bench.connect(bench.PORT))
        await session.handshake()
        bench.destroy(bench.PORT)
        await session.write(0, bytes(BLOCK_SIZE))

    with pytest.raises(ConnectionResetError):
        asyncio.run(write_after_reset())


def test_continuous_reading_does_not_grow_memory(bench: NbdBench) -> None:
    async def read_on() -> int:
        session = NbdSession(bench.connect(bench.PORT))
        await session.handshake()
        await session.read(0, BLOCK_SIZE)
        tracemalloc.start()
        for _ in range(100):
            await session.read(0, BLOCK_SIZE)
        session.close()
        return tracemalloc.get_traced_memory()[0]

    try:
        assert asyncio.run(read_on()) < 20 * BLOCK_SIZE
    finally:
        tracemalloc.stop()


def test_an_idle_connection_notices_its_reset_at_once(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, IDLE)
    bench.reset(client, bench.PORT)
    client.wait_for("reconnected", CONNECTIONS)
    assert client.terminate()[0] == 0


def test_a_broken_connection_may_be_left_alone(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5", "--no-reconnect")
    bench.reset(client, bench.PORT)
    client.wait_for("reset", CONNECTIONS)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.reconnected, summary.disconnected) == (0, CONNECTIONS)
    assert summary.acknowledged_writes == summary.verified_writes


def test_a_server_that_dies_and_returns_costs_nothing(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5")
    wait_for_writes(bench, range(CONNECTIONS))
    bench.stop(bench.server)
    client.wait_for("error", CONNECTIONS)
    bench.serve()
    wait_for_writes(bench, range(CONNECTIONS))
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert summary.reconnected == CONNECTIONS
    assert summary.acknowledged_writes == summary.verified_writes


@pytest.mark.parametrize("interval", [IDLE, "--interval-ms=5"], ids=["idle", "busy"])
def test_a_lost_write_is_detected(bench: NbdBench, interval: str) -> None:
    client = bench.nbd_client(CONNECTIONS, interval)
    eventually(lambda: bench.generation(1) >= 0)
    for block in range(BLOCKS):
        bench.overwrite(1, block, bytes(BLOCK_SIZE))
    status, report = client.terminate()
    assert status == 1
    assert report.summary is not None
    assert report.summary.lost_writes >= 1
    assert {e.conn for e in report.of_kind("lost")} == {1}


def test_a_server_that_loses_data_is_detected_by_reading_back(bench: NbdBench) -> None:
    """nbdkit's null plugin acknowledges every write and keeps none."""
    bench.stop(bench.server)
    pid = bench.start(["nbdkit", "-f", f"--port={bench.PORT}", "null", "size=1M"])
    wait_listening(pid, bench.PORT)
    client = bench.nbd_client(CONNECTIONS, IDLE)
    client.wait_for("lost", CONNECTIONS)
    status, report = client.terminate()
    assert status == 1 and report.summary is not None
    assert report.summary.lost_writes == report.summary.acknowledged_writes == 3


def test_a_write_that_an_older_one_overwrites_is_detected(bench: NbdBench) -> None:
    client = bench.nbd_client(1, "--interval-ms=5")
    wait_for_writes(bench, range(1))
    late = bench.blocks(0)
    wait_for_writes(bench, range(1))
    for block, data in enumerate(late):
        bench.overwrite(0, block, data)
    (lost, *_) = client.wait_for("lost")
    found = BlockWrite.decode(late[0])
    assert found is not None and f"run={found.run}," in lost.fields["found"]
    assert client.terminate()[0] == 1


def test_a_silent_network_is_hung_and_sigterm_is_honoured(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5", "--deadline-s=2")
    wait_for_writes(bench, range(CONNECTIONS))
    bench.drop(f"tcp dport {bench.PORT}")
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.hung, summary.lost_writes) == (CONNECTIONS, 0)
    assert summary.unverified_writes == CONNECTIONS * BLOCKS
    assert summary.acknowledged_writes > summary.unverified_writes


def test_a_hung_connection_does_not_affect_the_others(bench: NbdBench) -> None:
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5")
    wait_for_writes(bench, range(CONNECTIONS))
    bench.drop(f"tcp sport {PORTS[1]}")
    wait_for_writes(bench, range(2, 3), more=10 * BLOCKS)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.hung, summary.disconnected) == (1, 0)
    assert summary.acknowledged_writes == summary.verified_writes


def test_a_held_source_port_is_skipped(bench: NbdBench) -> None:
    bench.start(["nbdkit", "-f", f"--port={PORTS[1]}", "null"])
    client = bench.nbd_client(CONNECTIONS, IDLE)
    assert client.report.ports == (PORTS[0], PORTS[1 + LANES], PORTS[2])
    (skipped,) = client.report.of_kind("port-skipped")
    assert (skipped.conn, skipped.port) == (1, PORTS[1])


def test_a_duration_ends_the_run(bench: NbdBench) -> None:
    status, report = bench.nbd_client(CONNECTIONS, "--duration-s=0.5").join()
    assert status == 0 and report.summary is not None


def test_an_export_that_is_too_small_is_bad_input(bench: NbdBench) -> None:
    client = bench.client("nbd_client", "--client-index=1", "--connections=2")
    assert client.join()[0] == 2


def test_many_connections(bench: NbdBench) -> None:
    client = bench.nbd_client(MANY, "--interval-ms=100")
    wait_for_writes(bench, range(MANY), more=BLOCKS)
    status, report = client.terminate()
    summary = report.summary
    assert status == 0 and summary is not None
    assert (summary.opened, summary.hung) == (MANY, 0)
    assert summary.acknowledged_writes == summary.verified_writes


def test_what_one_server_acknowledged_every_server_reads(bench: NbdBench) -> None:
    """Two nbdkit over one file, as on two nodes; the client moves between them."""
    client = bench.nbd_client(CONNECTIONS, "--interval-ms=5")
    wait_for_writes(bench, range(CONNECTIONS))
    other = bench.PORT + 1
    bench.serve(other)
    bench.run("nft", "add table ip n")
    bench.run("nft", "add chain ip n out { type nat hook output priority -100; }")
    redirect = f"tcp dport {bench.PORT} redirect to :{other}"
    bench.run("nft", f"add rule ip n out {redirect}")
    bench.reset(client, bench.PORT)
    client.wait_for("reconnected", CONNECTIONS)
    wait_for_writes(bench, range(CONNECTIONS))
    assert f":{other}" in bench.run("ss", "-tnH", f"sport = :{other}")
    assert client.terminate()[0] == 0
