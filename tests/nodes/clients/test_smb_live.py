"""What Samba does with locks whose connections are lost, on loopbacks."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from impacket import smb3structs

from nodes.clients.client_runtime import retry_forever
from nodes.clients.lock_session import Account
from nodes.clients.smb_session import Memory, SmbSession, session_on
from nodes.servers.server_ready import wait_listening
from nodes.servers.smb_locks import Sessions, ask_kernel, ask_samba, sample
from nodes.servers.smb_server import (
    SMB_PORT,
    create_clustered_share,
    create_share,
    shared_folder,
    smbd_argv,
    status_configuration,
)
from tests.nodes.client_bench import LOOPBACK, PORTS, Bench, eventually

pytestmark = [pytest.mark.live, pytest.mark.beside]

CONNECTIONS = 2
LANES = CONNECTIONS + 1
FILE = Account(0, 0)
#: Of a question whose answer is no.
BRIEFLY_S = 0.1
#: Of a question whose answer is yes, soon.
LONG_S = 10.0


class SmbBench(Bench):
    """A bench with one node's smbd."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        wait_listening(self.start(smbd_argv(directory)), SMB_PORT)

    async def session(self, memory: Memory) -> SmbSession:
        """A session of the client that remembers this."""
        sock = await asyncio.to_thread(self.connect, SMB_PORT)
        sock.settimeout(None)
        return await session_on(sock, LOOPBACK[4], memory)


@pytest.fixture
def store() -> Iterator[Path]:
    """A folder that the clients' user can enter. pytest's own are for root alone."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def _nodes(store: Path, create: Callable[[Path], None]) -> Iterator[list[SmbBench]]:
    create(store)
    benches = [SmbBench(store) for _ in range(2)]
    yield benches
    for bench in benches:
        bench.close()


@pytest.fixture
def apart(store: Path) -> Iterator[list[SmbBench]]:
    """Two nodes that share the files alone."""
    yield from _nodes(store, create_share)


@pytest.fixture
def together(store: Path) -> Iterator[list[SmbBench]]:
    """Two nodes that share their databases as well."""
    yield from _nodes(store, create_clustered_share)


@pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])
def test_a_client_that_is_reset_has_its_lock_again_and_all_it_wrote(
    apart: list[SmbBench], ip: int
) -> None:
    options = (f"--connections={CONNECTIONS}", "--interval-ms=5")
    client = apart[0].client("smb_client", *options, ip=ip)
    client.wait_for("lock-granted", CONNECTIONS)
    apart[0].reset(client, SMB_PORT)
    client.wait_for("lock-granted", 2 * CONNECTIONS)
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert {(e.conn, e.port) for e in report.of_kind("reconnected")} == {
        (conn, PORTS[conn + LANES]) for conn in range(CONNECTIONS)
    }
    summary = report.summary
    assert summary.acknowledged_writes == summary.verified_writes > 0
    assert summary.errors == summary.hung == 0


def test_apart_a_lock_ends_with_its_connection_and_not_before(
    apart: list[SmbBench], store: Path
) -> None:
    files = shared_folder(store)
    client = Memory()

    async def scene() -> None:
        lost = await apart[0].session(client)
        assert await lost.take(FILE, LONG_S)
        port = lost._socket.getsockname()[1]
        seen = sample(Sessions({}), lambda: ask_kernel(files))
        assert seen.holders == (f"{LOOPBACK[4]}:{port}",)
        # Another test's cluster beside this one may have sessions, of clients elsewhere.
        ours = tuple(one for one in seen.sessions if one.startswith(LOOPBACK[4]))
        assert ours == seen.holders
        back = await apart[1].session(client)  # says that the first has gone
        assert not await back.take(FILE, BRIEFLY_S), (
            "this node knows of no such session"
        )
        await asyncio.to_thread(apart[0].destroy, SMB_PORT)
        assert await back.take(FILE, LONG_S)
        for session in (lost, back):
            session.close()

    asyncio.run(scene())


def test_the_same_node_ends_the_session_that_its_client_names(
    apart: list[SmbBench],
) -> None:
    client = Memory()

    async def scene() -> None:
        lost = await apart[0].session(client)
        assert await lost.take(FILE, LONG_S)
        stranger = await apart[0].session(Memory())
        assert not await stranger.take(FILE, BRIEFLY_S)
        back = await apart[0].session(client)
        assert await back.take(FILE, LONG_S)
        with pytest.raises(OSError, match="STATUS_USER_SESSION_DELETED"):
            await lost.touch(FILE)
        for session in (lost, stranger, back):
            session.close()

    asyncio.run(scene())


@pytest.mark.parametrize("reset", [True, False], ids=["freed", "half-open"])
def test_together_a_client_claims_its_handle_back_with_the_lock(
    together: list[SmbBench], store: Path, reset: bool
) -> None:
    client = Memory(durable=True)

    async def scene() -> None:
        lost = await together[0].session(client)
        assert await lost.take(FILE, LONG_S)
        await lost.change(FILE, 1)
        assert client.handle and client.handle.locked
        first = client.handle.guid
        assert len(ask_samba(status_configuration(store))) == 1
        if reset:
            await asyncio.to_thread(together[0].destroy, SMB_PORT)
            # The lock is there still, and no process has it.
            eventually(lambda: not ask_samba(status_configuration(store)))
        back = await together[1].session(client)
        assert await back.take(FILE, BRIEFLY_S)
        assert client.handle.guid == first, "it is the same handle"
        assert await back.stored(FILE) == (1, True)
        await back.give(FILE)
        for session in (lost, back):
            session.close()

    asyncio.run(scene())


def test_together_a_handle_that_nobody_claims_keeps_nobody_out(
    together: list[SmbBench],
) -> None:
    async def scene() -> None:
        lost = await together[0].session(Memory(durable=True))
        assert await lost.take(FILE, LONG_S)
        await asyncio.to_thread(together[0].destroy, SMB_PORT)
        other = await together[1].session(Memory())
        assert await other.take(FILE, LONG_S)
        for session in (lost, other):
            session.close()

    asyncio.run(scene())


async def open_alone(session: SmbSession) -> None:
    """Open a file that nobody else may open meanwhile. Raises ``OSError``."""
    access = smb3structs.FILE_READ_DATA
    options = smb3structs.FILE_NON_DIRECTORY_FILE, smb3structs.FILE_OPEN_IF
    await session._ask(
        lambda: session._smb.create(session._tree, "alone", access, 0, *options, 0)
    )


def test_together_who_denies_others_a_file_does_so_while_the_connection_lasts(
    together: list[SmbBench],
) -> None:
    async def scene() -> None:
        lost = await together[0].session(Memory())
        await open_alone(lost)
        other = await together[1].session(Memory())
        with pytest.raises(OSError, match="STATUS_SHARING_VIOLATION"):
            await open_alone(other)
        await asyncio.to_thread(together[0].destroy, SMB_PORT)
        await asyncio.wait_for(retry_forever(lambda: open_alone(other)), LONG_S)
        for session in (lost, other):
            session.close()

    asyncio.run(scene())


def test_apart_no_node_knows_what_another_nodes_client_denies(
    apart: list[SmbBench],
) -> None:
    async def scene() -> None:
        one, other = [await bench.session(Memory()) for bench in apart]
        await open_alone(one)
        await open_alone(other)
        for session in (one, other):
            session.close()

    asyncio.run(scene())


def test_a_session_knows_how_its_connection_ended(apart: list[SmbBench]) -> None:
    async def scene() -> None:
        session = await apart[0].session(Memory())
        await session.touch(FILE)
        await asyncio.to_thread(apart[0].destroy, SMB_PORT)
        with pytest.raises(ConnectionResetError):
            await session.touch(FILE)
        assert isinstance(session.closed.result(), ConnectionResetError)
        session.close()

    asyncio.run(scene())
