"""What NFS-Ganesha does with locks whose connections are lost, on loopbacks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.clients.library_session import PlaceholderListener
from nodes.clients.lock_session import Account
from nodes.clients.nfs_session import NfsSession
from nodes.servers.nbd_server import create_backing_file
from nodes.servers.nfs_files import FILE_SIZE, file_name, holders_in
from nodes.servers.nfs_locks import LOCKS
from nodes.servers.nfs_server import NFS_PORT
from nodes.servers.server_ready import wait_listening
from tests.nodes.client_bench import NODES, PORTS, STREAM, Bench

pytestmark = [pytest.mark.live, pytest.mark.beside]

CONNECTIONS = 2
LANES = CONNECTIONS + 1
#: Short enough for a test, and much longer than anything else that it waits for.
LEASE_S = 2
FILE = Account(0, 0)

#: Counts who connects to the socket of rpcbind, in a /run of its own, while a server starts
#: and until it ends. Tells what the server sees mounted there.
ASKS_RPCBIND = """\
ip link set lo up
mount -t tmpfs none /run
mkdir /run/export
"$1" -c '
import socket
asked = socket.socket(socket.AF_UNIX)
asked.bind("/run/rpcbind.sock")
asked.listen()
asked.settimeout(3)
print("listens", flush=True)
try:
    asked.accept()
    print("asked", flush=True)
except TimeoutError:
    print("not asked", flush=True)
' > /run/told &
until grep -q listens /run/told; do sleep 0.01; done
unshare --mount --propagation=private "$1" "$2" --folder=/run/export --state=/run/nfs \\
    --lease-s=2 &
server=$!
wait %1
ss -tlnH "sport = :2049"
grep " /run " "/proc/$server/root/etc/mtab"
kill -9 $server
cat /run/told
"""


class GaneshaBench(Bench):
    """A bench with one server of a folder. ``node``: to tell its state from others'."""

    def __init__(self, directory: Path, node: str) -> None:
        super().__init__(directory)
        self._placeholder = PlaceholderListener()
        script = str(NODES / "servers" / "nfs_server.py")
        server = self.start(
            [
                *(
                    "unshare",
                    "--mount",
                    "--propagation=private",
                    sys.executable,
                    script,
                ),
                *(f"--folder={directory / 'export'}", f"--lease-s={LEASE_S}"),
                f"--state={directory / node}",
            ],
            directory / f"{node}.log",
        )
        wait_listening(server, NFS_PORT)

    async def session(self, client: str, port: int) -> NfsSession:
        """An instance of that client."""
        sock = await asyncio.to_thread(self.connect, NFS_PORT)
        sock.setblocking(False)
        session = NfsSession(sock, client, port, self._placeholder)
        await session.mount()
        return session


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[GaneshaBench]]:
    """Two servers of one folder, as two nodes have it."""
    export = tmp_path / "export"
    export.mkdir()
    for conn in range(CONNECTIONS):
        create_backing_file(export / file_name(STREAM, conn), FILE_SIZE)
    benches = [GaneshaBench(tmp_path, node) for node in ("one", "two")]
    yield benches
    for bench in benches:
        bench.close()


def holders(bench: Bench) -> list[str]:
    """Who holds locks, by the kernel."""
    files = (bench.directory / "export").iterdir()
    hosts = {file.stat().st_ino: file.name.rpartition("-")[0] for file in files}
    return holders_in(LOCKS.read_text(), hosts)


@pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])
def test_a_client_that_comes_back_to_its_server_has_its_lock_at_once(
    servers: list[GaneshaBench], ip: int
) -> None:
    options = (f"--connections={CONNECTIONS}", "--interval-ms=5")
    client = servers[0].client("nfs_client", *options, ip=ip)
    client.wait_for("lock-granted", CONNECTIONS)
    servers[0].reset(client, NFS_PORT)
    granted = client.wait_for("lock-granted", 2 * CONNECTIONS)[CONNECTIONS:]
    # A new verifier ends what the instance before held (RFC 7530, 9.1.1).
    assert all(event.fields["waited_ms"] < 1000 * LEASE_S / 2 for event in granted)
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert {(e.conn, e.port) for e in report.of_kind("reconnected")} == {
        (conn, PORTS[conn + LANES]) for conn in range(CONNECTIONS)
    }
    summary = report.summary
    assert summary.acknowledged_writes == summary.verified_writes > 0


def test_through_another_server_it_waits_for_its_lease_reset_or_not(
    servers: list[GaneshaBench],
) -> None:
    async def scene() -> None:
        lost = await servers[0].session(f"{STREAM}-0", 20001)
        assert await lost.take(FILE, 0)
        assert holders(servers[0]) == [f"{STREAM}:20001"]
        await asyncio.to_thread(servers[0].destroy, NFS_PORT)
        await lost.closed
        since = time.monotonic()
        back = await servers[1].session(f"{STREAM}-0", 20002)
        assert not await back.take(FILE, 0.25), "the connection has gone, the lease not"
        assert holders(servers[0]) == [f"{STREAM}:20001"]
        assert await back.take(FILE, 4 * LEASE_S)
        assert time.monotonic() - since > LEASE_S / 2
        assert holders(servers[0]) == [f"{STREAM}:20002"]
        for session in (lost, back):
            session.close()

    asyncio.run(scene())


def test_a_change_counts_from_the_end_of_its_lock(servers: list[GaneshaBench]) -> None:
    async def scene() -> None:
        one, two = [await bench.session(f"{STREAM}-0", 20001) for bench in servers]
        assert await one.take(FILE, 0)
        for number in (1, 2, 3):
            await one.change(FILE, number)
            assert (await two.stored(FILE)).last == number - 1
            await one.give(FILE)
            assert await two.stored(FILE) == (number, True)
            assert await one.take(FILE, 0)
        await one.undo(FILE)
        for session in (one, two):
            session.close()

    asyncio.run(scene())


def test_the_machines_rpcbind_is_not_asked() -> None:
    script = str(NODES / "servers" / "nfs_server.py")
    command = ["unshare", "--net", "--mount-proc", "--pid", "--fork", "--kill-child"]
    told = subprocess.run(
        [*command, "sh", "-c", ASKS_RPCBIND, "sh", sys.executable, script],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    ).stdout
    assert "*:2049" in told, "the server runs"
    assert "none /run memory rw" in told, "Ganesha 6 exports no tmpfs"
    assert told.endswith("listens\nnot asked\n")
