#!/usr/bin/env python3
"""fio as a client: one fio a connection, started again when its connection is lost."""

from __future__ import annotations

import asyncio
import errno
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_options import Layout, add_block_options, block_options
from nodes.clients.capacity import FIO_CONNECTIONS
from nodes.clients.client_options import ClientOptions, make_parser
from nodes.clients.client_ports import seeded_ports
from nodes.clients.client_report import Journal
from nodes.clients.client_runtime import Stop, first_of, within
from nodes.clients.fio_job import PORT_RANGE_FILE, load_argv, look_argv, port_range
from nodes.clients.fio_report import (
    JobResult,
    job_results,
    last_document,
    write_fates,
    write_output,
)
from nodes.kernel.own_sockets import is_established
from nodes.servers.nbd_server import FIO_REFUSES, NBD_PORT

PROG = "fio_client.py"
#: Files of one fio: the process's pipe, and its end.
FILES_PER_FIO = 2
#: fio's engine asks a dead connection for events without end, and says so each time.
DEAD = b"nothing to poll for in state DEAD"
MOST_DEAD_LINES = 100
#: How often to look whether a fio has its connection, and the pause before another fio.
POLL_S = 0.005
PAUSE_S = 0.05
#: Kept back from the deadline to write what came of it.
SPARE_S = 0.5

TEXT = """\
N fios, each with one connection to one NBD export and blocks of its own: it writes one,
reads it back and compares (fio's verify), waits, goes on. fio's job fails when its
connection is lost; a new fio then starts over, from the next source port. In the end
one fio reads every block once more. A fio that does not end is killed: its writes count
as far as it told (every 500 ms).

In the summary a write is one NBD_CMD_WRITE: acknowledged means that fio counts it as
complete. fio does not tell a reset from another end: each is an "error". Source ports
are forced on fio by its namespace's range of local ports: run it in one of its own.
"""


@dataclass
class Connection:
    """What one connection's fios did, one after the other."""

    results: list[JobResult] = field(default_factory=list)
    running: asyncio.subprocess.Process | None = None
    #: It has its connection, as far as the kernel knows.
    established: bool = False
    hung: bool = False


class FioClient:
    """All fios of this process: shared options, and the end of the run."""

    def __init__(
        self,
        options: ClientOptions,
        layout: Layout,
        output: Path | None,
        scratch: Path,
    ) -> None:
        self._options, self._layout, self._output = options, layout, output
        self._scratch = scratch
        self._numbers = itertools.count()
        self._journal = Journal(sys.stdout, options.connections)
        self._stop = Stop(options)
        self._opening = asyncio.Lock()
        self._connections = [Connection() for _ in range(options.connections)]
        self._kept: list[dict[str, Any]] = []

    async def run(self) -> int:
        """The whole run. The exit status."""
        tasks = [
            asyncio.create_task(self._keep_going(conn))
            for conn in range(self._options.connections)
        ]
        for task in tasks:
            self._stop.watch(task)
        await self._stop.future
        await self._finish(tasks)
        return self._summarise(await self._look())

    async def _keep_going(self, conn: int) -> None:
        """One fio after the other until the run ends."""
        ports = self._ports(conn)
        while not self._stop.is_set:
            await self._one_fio(conn, next(ports))
            if not self._options.reconnect:
                return
            await first_of(self._stop.future, timeout=PAUSE_S)

    def _ports(self, conn: int) -> Iterator[int]:
        """As :class:`~nodes.clients.client_ports.PortLanes` deals them."""
        order = seeded_ports(self._options.seed, self._options.stream)
        return itertools.cycle(order[conn :: self._options.connections + 1])

    async def _one_fio(self, conn: int, port: int) -> None:
        """A fio from its start to its end, and what it said."""
        mine = self._connections[conn]
        output = self._scratch / f"{next(self._numbers)}.json"
        began = time.time()
        async with self._opening:
            if self._stop.is_set:
                return
            PORT_RANGE_FILE.write_text(port_range(port))
            argv = load_argv(self._options, self._layout, conn, output)
            fio = mine.running = await _start(argv)
            errors = asyncio.create_task(_watch_errors(fio))
            mine.established = await self._connects(fio, port)
        if mine.established:
            self._journal.established(conn, port)
        elif fio.returncode is None:
            fio.kill()
        await fio.wait()
        said = await errors
        self._take(conn, port, began, output)
        if not self._stop.is_set:
            why = OSError(errno.EIO, said or "fio's connection was lost")
            if mine.established:
                self._journal.broken(conn, why)
            else:
                self._journal.failed(conn, port, why)
            mine.established = False
        mine.running = None

    async def _connects(self, fio: asyncio.subprocess.Process, port: int) -> bool:
        """Wait until it works from that port, or ends, or the time is up."""
        options = self._options
        give_up = time.monotonic() + options.connect_timeout_s
        while fio.returncode is None and time.monotonic() < give_up:
            if is_established(options.family, port, options.port):
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _take(self, conn: int, port: int, began: float, output: Path) -> None:
        """Keep fio's own words; nothing where it was killed before it said any."""
        document = last_document(output.read_text()) if output.exists() else None
        if document is None:
            return
        self._connections[conn].results += job_results(
            document, self._layout.block_size
        )
        self._kept.append({"conn": conn, "port": port, "t": began, "fio": document})

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """SIGTERM; a fio that does not end within the grace hangs, and is killed."""
        for one in self._connections:
            if one.running is not None and one.running.returncode is None:
                one.running.terminate()
        # A fio that pauses between two requests hears of it when the pause is over.
        patience_s = self._options.grace_s + self._options.interval_s
        _, late = await asyncio.wait(
            tasks, timeout=min(patience_s, self._stop.remaining_s(SPARE_S))
        )
        for one in self._connections:
            if one.running is not None and one.running.returncode is None:
                one.hung = True
                one.running.kill()
        if late:
            await asyncio.wait(late)
        for task in tasks:
            task.result()

    async def _look(self) -> dict[int, JobResult]:
        """Every block read once more: connection -> what fio found; none if it is late."""
        blocks = [
            min(self._layout.blocks, max((r.writes for r in one.results), default=0))
            for one in self._connections
        ]
        if not any(blocks):
            return {}
        output = self._scratch / "look.json"
        # Nobody fixes these ports: the run is over.
        PORT_RANGE_FILE.write_text("20000 59999\n")
        fio = await _start(look_argv(self._options, self._layout, blocks, output))
        errors = asyncio.create_task(_watch_errors(fio))
        try:
            await within(self._stop.remaining_s(SPARE_S), fio.wait())
        except TimeoutError:
            fio.kill()
            await fio.wait()
        await errors
        document = last_document(output.read_text()) if output.exists() else None
        if document is None:
            return {}
        self._kept.append({"look": True, "fio": document})
        conns = [conn for conn, count in enumerate(blocks) if count]
        found = job_results(document, self._layout.block_size)
        return {
            conn: one
            for conn, one in zip(conns, found, strict=True)
            if one.reads == blocks[conn]
        }

    def _summarise(self, look: dict[int, JobResult]) -> int:
        summary = self._journal.summary
        for conn, one in enumerate(self._connections):
            fates = write_fates(one.results, look.get(conn))
            summary.verified_writes += fates.verified
            summary.lost_writes += fates.lost
            summary.unverified_writes += fates.unverified
            summary.hung += one.hung
            summary.disconnected += not one.established
            if fates.lost:
                self._journal.lost(conn, blocks=fates.lost)
        summary.acknowledged_writes = (
            summary.verified_writes + summary.lost_writes + summary.unverified_writes
        )
        if self._output is not None:
            write_output(self._output, self._layout.block_size, self._kept)
        return self._journal.finish()


async def _start(argv: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def _watch_errors(fio: asyncio.subprocess.Process) -> str:
    """The first line that it complains with; killed where it complains without end."""
    assert fio.stderr is not None
    first, dead = "", 0
    async for line in fio.stderr:
        first = first or line.decode(errors="replace").strip()
        dead += DEAD in line
        if dead == MOST_DEAD_LINES:
            fio.kill()
    return first


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout, Path | None]:
    """The command line, checked. Exits with status 2 if it is wrong."""
    parser = make_parser(PROG, TEXT, NBD_PORT, FIO_CONNECTIONS, FIO_REFUSES)
    add_block_options(parser)
    parser.add_argument(
        "--fio-output", type=Path, help="where fio's own JSON is kept, all of it"
    )
    args = parser.parse_args(argv)
    options, layout = block_options(parser, args, FILES_PER_FIO)
    return options, layout, args.fio_output


def main(argv: list[str]) -> int:
    """Run the client. The exit status, as ``--help`` tells."""

    parsed = parse_arguments(argv)

    async def run(scratch: Path) -> int:
        return await FioClient(*parsed, scratch).run()

    with tempfile.TemporaryDirectory(prefix="fio-") as folder:
        return asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
