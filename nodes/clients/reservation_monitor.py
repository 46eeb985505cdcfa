#!/usr/bin/env python3
"""Writes who has reserved units, by the targets' word, several times a second, until SIGTERM.

Each target lists its sessions (tgtadm(8)). Whether a unit is reserved it answers to TEST
UNIT READY, on a session of this program. By whom, SPC-2 has no command that tells: if
several sessions of the unit are there, it is the one that has last marked the unit
(:mod:`nodes.servers.iscsi_units`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.client_runtime import with_timeout
from nodes.clients.iscsi_reserve_session import ReserveSession
from nodes.clients.library_session import PlaceholderListener
from nodes.kernel.network_namespace import enter_netns
from nodes.servers.iscsi_server import FIRST_PORTAL
from nodes.servers.iscsi_units import taken_at, unit_files
from nodes.servers.lock_log import LockSample

INITIATOR = "iqn.2024-01.resetbed:monitor"
#: Pause between two looks, in seconds: each asks tgtadm once for every target.
LOOK_INTERVAL_S = 0.2
#: A target that does not answer within this time is left out of the look.
ANSWER_S = 1.0

#: A session in what ``tgtadm --mode target --op show`` prints.
_SESSION = re.compile(r"Initiator: iqn\.[^ ]*:unit-(\d+) alias: (\S+:\d+)$", re.M)


class UnitSession(NamedTuple):
    """A session of a target: the unit that it is for, and its client's ``HOST:PORT``."""

    unit: int
    name: str


def sessions_in(shown: str) -> list[UnitSession]:
    """The clients' sessions in tgtadm's list of targets."""
    return [UnitSession(int(unit), name) for unit, name in _SESSION.findall(shown)]


def holder(names: Sequence[str], marks: Mapping[str, float]) -> str:
    """Which of a reserved unit's sessions has it: the one that marked it last.

    A session that asks in vain has marked nothing since another reserved the unit.
    """
    return max(names, key=lambda name: marks[name])


class Target:
    """One tgtd, and a session of ours with it, opened when it is first needed."""

    def __init__(self, control: Path, placeholder: PlaceholderListener) -> None:
        self._control = control
        self._placeholder = placeholder
        self._session: ReserveSession | None = None

    async def sessions(self) -> list[UnitSession]:
        """All sessions of clients. Raises ``OSError`` if the target does not answer."""
        program = await asyncio.create_subprocess_exec(
            *("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show"),
            env={**os.environ, "TGT_IPC_SOCKET": str(self._control)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        shown, _ = await program.communicate()
        if program.returncode:
            raise ConnectionError(f"{self._control.name} does not answer")
        return sessions_in(shown.decode())

    async def reserved(self, units: set[int]) -> set[int]:
        """Which of these units are reserved. Raises ``OSError``."""
        session = self._session
        if session is None or session.closed.done():
            session = await self._log_in()
        answers = await asyncio.gather(*(session.is_free(unit) for unit in units))
        return {unit for unit, free in zip(units, answers, strict=True) if not free}

    async def _log_in(self) -> ReserveSession:
        """A session through the portal on the node's loopback."""
        if self._session is not None:
            self._session.close()
            self._session = None
        pid = int(self._control.name.rpartition("-")[2])
        host, _, port = FIRST_PORTAL.partition("=")[2].rpartition(":")
        with enter_netns(pid):
            sock = socket.create_connection((host, int(port)), ANSWER_S)
        sock.setblocking(False)
        self._session = ReserveSession(sock, INITIATOR, self._placeholder)
        await self._session.log_in()
        return self._session


class Monitor:
    """All targets whose control sockets are in the store."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._placeholder = PlaceholderListener()
        self._targets: dict[Path, Target] = {}

    async def look(self) -> LockSample:
        """One look at every target that answers.

        Its time is that of its beginning: who ends during a look had not gone before it.
        """
        began = time.time()
        for control in self._controls():
            self._targets.setdefault(control, Target(control, self._placeholder))
        answers = await asyncio.gather(
            *(self._ask(target) for target in self._targets.values())
        )
        sessions = sorted(one.name for seen, _ in answers for one in seen)
        holders = sorted(name for _, names in answers for name in names)
        waiting = sum(len(seen) - len(names) for seen, names in answers)
        return LockSample(began, tuple(sessions), tuple(holders), waiting)

    def _controls(self) -> Iterator[Path]:
        """``tgt-PID``, from the socket ``tgt-PID.0``."""
        for socket_file in self._store.glob("tgt-*.0"):
            yield socket_file.with_suffix("")

    async def _ask(self, target: Target) -> tuple[list[UnitSession], list[str]]:
        """Sessions of a target, and those of them that hold their units."""
        try:
            return await with_timeout(ANSWER_S, self._seen(target))
        except OSError:  # it starts, or its node has failed
            return [], []

    async def _seen(self, target: Target) -> tuple[list[UnitSession], list[str]]:
        sessions = await target.sessions()
        reserved = await target.reserved({one.unit for one in sessions})
        return sessions, [self._holder(unit, sessions) for unit in sorted(reserved)]

    def _holder(self, unit: int, sessions: Sequence[UnitSession]) -> str:
        names = [one.name for one in sessions if one.unit == unit]
        file = unit_files(self._store)[unit - 1]
        return holder(names, {name: taken_at(file, name) for name in names})


async def watch(store: Path) -> None:
    """Looks for ever."""
    monitor = Monitor(store)
    while True:
        sys.stdout.write((await monitor.look()).to_json())
        sys.stdout.flush()
        await asyncio.sleep(LOOK_INTERVAL_S)


def main(argv: list[str]) -> int:
    """Looks until SIGTERM."""
    parser = argparse.ArgumentParser(prog="reservation_monitor.py", description=__doc__)
    parser.add_argument(
        "--store", type=Path, required=True, help="what the nodes share"
    )
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(watch(options.store))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
