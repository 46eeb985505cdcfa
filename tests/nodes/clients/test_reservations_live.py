"""What tgt does with reservations whose sessions are lost: a real tgtd on a loopback."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from nodes.clients import libiscsi
from nodes.clients.iscsi_reserve_session import ReserveSession
from nodes.clients.iscsi_session import ScsiError
from nodes.clients.library_session import PlaceholderListener
from nodes.clients.lock_session import Account
from nodes.servers.iscsi_server import ISCSI_PORT
from nodes.servers.iscsi_units import UNIT_SIZE
from nodes.servers.lock_log import LockSample, read_lock_log
from nodes.servers.nbd_server import create_backing_file
from nodes.servers.server_ready import wait_listening
from tests.nodes.client_bench import NODES, PORTS, Bench, eventually

pytestmark = [pytest.mark.live, pytest.mark.beside]

T = TypeVar("T")

CONNECTIONS = 2
LANES = CONNECTIONS + 1
#: Logical units of this target, and one of them.
UNITS = 2
UNIT = Account(1, 0)
#: SPC-4, 6.16: service actions of PERSISTENT RESERVE OUT, and WRITE EXCLUSIVE.
REGISTER, RESERVE, PREEMPT = 0, 1, 4
WRITE_EXCLUSIVE = 1
KEY, OTHER_KEY = 0x11, 0x22


class TgtBench(Bench):
    """A bench with a target of two units."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        files = [directory / f"unit-{number}" for number in range(1, UNITS + 1)]
        for file in files:
            create_backing_file(file, UNIT_SIZE)
        script = str(NODES / "servers" / "iscsi_server.py")
        argv = [sys.executable, script, "--file", *map(str, files)]
        self.tgtd = self.start([*argv, f"--control={directory / 'tgt'}"])
        wait_listening(self.tgtd, ISCSI_PORT)
        self._placeholder = PlaceholderListener()

    async def session(
        self, name: str, isid: int, *, host: str = "h1"
    ) -> ReserveSession:
        """A session of the initiator ``name`` with that ISID."""
        sock = await asyncio.to_thread(self.connect, ISCSI_PORT)
        sock.setblocking(False)
        session = ReserveSession(
            sock, f"iqn.2024-01.resetbed:{name}", self._placeholder
        )
        session.identify(f"{host}:{20000 + isid}", isid)
        await session.log_in()
        return session

    def monitor(self) -> Path:
        """Starts the lock monitor; its log."""
        log = self.directory / "locks"
        script = str(NODES / "clients" / "reservation_monitor.py")
        self.start([sys.executable, script, f"--store={self.directory}"], log)
        return log


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[TgtBench]:
    """A namespace with tgtd in it."""
    bench = TgtBench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])
def test_reset_sessions_reserve_again_and_lose_nothing(
    bench: TgtBench, ip: int
) -> None:
    options = (f"--connections={CONNECTIONS}", "--interval-ms=5")
    client = bench.client("iscsi_reserve_client", *options, ip=ip)
    client.wait_for("lock-granted", CONNECTIONS)
    bench.reset(client, ISCSI_PORT)
    client.wait_for("lock-granted", 2 * CONNECTIONS)
    status, report = client.terminate()
    assert status == 0 and report.summary is not None
    assert {(e.conn, e.port) for e in report.of_kind("reconnected")} == {
        (conn, PORTS[conn + LANES]) for conn in range(CONNECTIONS)
    }
    summary = report.summary
    assert summary.acknowledged_writes == summary.verified_writes > 0


def test_a_lost_session_keeps_its_unit_from_its_own_initiator(bench: TgtBench) -> None:
    async def scene() -> None:
        lost = await bench.session("one", 1)
        assert await lost.take(UNIT, 0)
        back = await bench.session("one", 2)
        assert not await back.take(UNIT, 0.1), "a session of its own, another ISID"
        with pytest.raises(ScsiError):
            await back.read(0, 512)
        other = await bench.session("two", 3)
        assert not await other.take(UNIT, 0.1)
        assert await other.take(Account(2, 0), 0), "of another unit it keeps nobody out"
        lost.close()
        assert await back.take(UNIT, 5), "the target has seen the end of the session"
        for session in (back, other):
            session.close()

    asyncio.run(scene())


def test_a_reset_of_the_unit_breaks_a_reservation(bench: TgtBench) -> None:
    async def scene() -> None:
        lost = await bench.session("one", 1)
        assert await lost.take(UNIT, 0)
        await lost.change(UNIT, 1)
        admin = await bench.session("two", 2)
        assert not await admin.is_free()
        assert await admin.stored(UNIT) == (0, True), "a change without its end"
        assert await admin.is_free()
        for session in (lost, admin):
            session.close()

    asyncio.run(scene())


def test_a_persistent_reservation_outlives_its_session(bench: TgtBench) -> None:
    async def scene() -> None:
        lost = await bench.session("one", 1)
        await persistent(lost, REGISTER, 0, KEY)
        await persistent(lost, RESERVE, KEY, 0)
        lost.close()
        back = await bench.session("one", 1)
        await eventually_async(lambda: alone(bench))
        with pytest.raises(ScsiError):
            await back.write(0, bytes(512))
        await persistent(back, REGISTER, 0, OTHER_KEY)
        with pytest.raises(ScsiError):
            await back.write(0, bytes(512))
        await persistent(back, PREEMPT, OTHER_KEY, KEY)
        await back.write(0, bytes(512))
        back.close()

    asyncio.run(scene())


def test_the_monitor_sees_sessions_and_who_of_them_has_the_unit(
    bench: TgtBench,
) -> None:
    log = bench.monitor()

    def seen(holders: tuple[str, ...], sessions: int) -> LockSample | None:
        looks = read_lock_log(log)
        if looks and (looks[-1].holders, len(looks[-1].sessions)) == (
            holders,
            sessions,
        ):
            return looks[-1]
        return None

    async def scene() -> None:
        first = await bench.session("unit-1", 1)
        await eventually_async(lambda: seen((), 1))
        assert await first.take(UNIT, 0)
        await eventually_async(lambda: seen(("h1:20001",), 1))
        second = await bench.session("unit-1", 2)
        waits = await eventually_async(lambda: seen(("h1:20001",), 2))
        assert waits.waiting == 1
        await first.undo(UNIT)
        assert await second.take(UNIT, 1)
        await eventually_async(lambda: seen(("h1:20002",), 2))
        for session in (first, second):
            session.close()
        await eventually_async(lambda: seen((), 0))

    asyncio.run(scene())


async def eventually_async(look: Callable[[], T | None]) -> T:
    """The first true answer."""
    found = await asyncio.to_thread(eventually, look)
    assert found is not None
    return found


def alone(bench: TgtBench) -> bool:
    """Whether the target has one connection left."""
    which = ("state", "established", f"sport = :{ISCSI_PORT}")
    return len(bench.run("ss", "-tnH", *which).splitlines()) == 1


class ReserveOut(ctypes.Structure):
    """include/scsi-lowlevel.h, ``struct scsi_persistent_reserve_out_basic``."""

    _fields_ = (
        ("reservation_key", ctypes.c_uint64),
        ("service_action_key", ctypes.c_uint64),
        ("flags", ctypes.c_uint8 * 3),
    )


async def persistent(session: ReserveSession, action: int, key: int, new: int) -> None:
    """PERSISTENT RESERVE OUT of WRITE EXCLUSIVE. Raises ``ScsiError``."""
    issue = libiscsi.library().iscsi_persistent_reserve_out_task
    issue.restype = ctypes.c_void_p
    keys = ReserveOut(key, new)
    issue.argtypes = [
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        *(ctypes.POINTER(ReserveOut), libiscsi.COMMAND_CALLBACK, ctypes.c_void_p),
    ]
    await session._command(
        lambda *end: issue(
            *(session._context, UNIT.own, action, 0, WRITE_EXCLUSIVE),
            *(ctypes.byref(keys), *end),
        )
    )
