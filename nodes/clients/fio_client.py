#!/usr/bin/env python3
"""fio as a client: one fio per connection, restarted when its connection is lost."""

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
from nodes.clients.client_report import ReportWriter
from nodes.clients.client_runtime import Shutdown, wait_any, with_timeout
from nodes.clients.fio_job import PORT_RANGE_FILE, load_argv, port_range, verify_argv
from nodes.clients.fio_report import (
    JobResult,
    count_writes,
    job_results,
    last_document,
    write_output,
)
from nodes.kernel.netns_sockets import is_established
from nodes.servers.nbd_server import FIO_UNSUPPORTED, NBD_PORT

PROG = "fio_client.py"
#: Open files for one fio: its pipe, and the notification of its end.
FILES_PER_FIO = 2
#: fio's engine polls a dead connection in a loop, and logs this line each time.
DEAD = b"nothing to poll for in state DEAD"
MAX_DEAD_LINES = 100
#: Interval of checks for a fio's connection, and the pause before the next fio.
POLL_S = 0.005
PAUSE_S = 0.05
#: Time reserved before the deadline, to write the results.
SPARE_S = 0.5

TEXT = """\
N fio processes, each with one connection to one NBD export and its own blocks. Each one
writes a block, reads it back and compares (fio's verify), waits, and continues. fio's job
fails when its connection is lost. A new fio then starts over, from the next source port.
At the end one fio reads every block. A fio that does not end is killed. Its writes count
as of its last status (every 500 ms).

In the summary a write is one NBD_CMD_WRITE. Acknowledged means that fio counts it as
complete. fio does not distinguish a reset from another end: each is an "error". The
source port of fio is set by the local port range of the network namespace, so run this
client in its own namespace.
"""


@dataclass
class Connection:
    """The results of one connection's fio processes, one after the other."""

    results: list[JobResult] = field(default_factory=list)
    running: asyncio.subprocess.Process | None = None
    #: Whether it is connected, as far as the kernel knows.
    established: bool = False
    hung: bool = False


class FioClient:
    """All fio processes of this client, and the end of the run."""

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
        self._report = ReportWriter(sys.stdout, options.connections)
        self._shutdown = Shutdown(options)
        self._opening = asyncio.Lock()
        self._connections = [Connection() for _ in range(options.connections)]
        self._documents: list[dict[str, Any]] = []

    async def run(self) -> int:
        """Run to the end. Returns the exit status."""
        tasks = [
            asyncio.create_task(self._run_connection(conn))
            for conn in range(self._options.connections)
        ]
        for task in tasks:
            self._shutdown.watch(task)
        await self._shutdown.future
        await self._finish(tasks)
        return self._summarise(await self._verify())

    async def _run_connection(self, conn: int) -> None:
        """Run one fio after the other until the run ends."""
        ports = self._ports(conn)
        while not self._shutdown.is_set:
            await self._run_fio(conn, next(ports))
            if not self._options.reconnect:
                return
            await wait_any(self._shutdown.future, timeout=PAUSE_S)

    def _ports(self, conn: int) -> Iterator[int]:
        """In the order of :class:`~nodes.clients.client_ports.SourcePorts`."""
        order = seeded_ports(self._options.seed, self._options.stream)
        return itertools.cycle(order[conn :: self._options.connections + 1])

    async def _run_fio(self, conn: int, port: int) -> None:
        """Run one fio to its end and record its output."""
        connection = self._connections[conn]
        output = self._scratch / f"{next(self._numbers)}.json"
        began = time.time()
        async with self._opening:
            if self._shutdown.is_set:
                return
            PORT_RANGE_FILE.write_text(port_range(port))
            argv = load_argv(self._options, self._layout, conn, output)
            fio = connection.running = await _start(argv)
            errors = asyncio.create_task(_watch_errors(fio))
            connection.established = await self._connects(fio, port)
        if connection.established:
            self._report.established(conn, port)
        elif fio.returncode is None:
            fio.kill()
        await fio.wait()
        message = await errors
        self._keep_output(conn, port, began, output)
        if not self._shutdown.is_set:
            why = OSError(errno.EIO, message or "fio's connection was lost")
            if connection.established:
                self._report.broken(conn, why)
            else:
                self._report.failed(conn, port, why)
            connection.established = False
        connection.running = None

    async def _connects(self, fio: asyncio.subprocess.Process, port: int) -> bool:
        """Wait until it is connected from that port, or ends, or times out."""
        options = self._options
        give_up = time.monotonic() + options.connect_timeout_s
        while fio.returncode is None and time.monotonic() < give_up:
            if is_established(options.family, port, options.port):
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _keep_output(self, conn: int, port: int, began: float, output: Path) -> None:
        """Keep fio's JSON output, if it wrote any before it ended."""
        document = last_document(output.read_text()) if output.exists() else None
        if document is None:
            return
        self._connections[conn].results += job_results(
            document, self._layout.block_size
        )
        self._documents.append(
            {"conn": conn, "port": port, "t": began, "fio": document}
        )

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """Send SIGTERM. A fio that does not end in the grace time is hung, and killed."""
        for one in self._connections:
            if one.running is not None and one.running.returncode is None:
                one.running.terminate()
        # A fio that pauses between two requests handles the signal after the pause.
        timeout_s = self._options.grace_s + self._options.interval_s
        _, late = await asyncio.wait(
            tasks, timeout=min(timeout_s, self._shutdown.remaining_s(SPARE_S))
        )
        for one in self._connections:
            if one.running is not None and one.running.returncode is None:
                one.hung = True
                one.running.kill()
        if late:
            await asyncio.wait(late)
        for task in tasks:
            task.result()

    async def _verify(self) -> dict[int, JobResult]:
        """Read every block: connection -> fio's result. Empty if it takes too long."""
        blocks = [
            min(self._layout.blocks, max((r.writes for r in one.results), default=0))
            for one in self._connections
        ]
        if not any(blocks):
            return {}
        output = self._scratch / "verification.json"
        # Any source port will do: the run is over.
        PORT_RANGE_FILE.write_text("20000 59999\n")
        fio = await _start(verify_argv(self._options, self._layout, blocks, output))
        errors = asyncio.create_task(_watch_errors(fio))
        try:
            await with_timeout(self._shutdown.remaining_s(SPARE_S), fio.wait())
        except TimeoutError:
            fio.kill()
            await fio.wait()
        await errors
        document = last_document(output.read_text()) if output.exists() else None
        if document is None:
            return {}
        self._documents.append({"look": True, "fio": document})
        conns = [conn for conn, count in enumerate(blocks) if count]
        results = job_results(document, self._layout.block_size)
        return {
            conn: one
            for conn, one in zip(conns, results, strict=True)
            if one.reads == blocks[conn]
        }

    def _summarise(self, verification: dict[int, JobResult]) -> int:
        summary = self._report.summary
        for conn, one in enumerate(self._connections):
            counts = count_writes(one.results, verification.get(conn))
            summary.verified_writes += counts.verified
            summary.lost_writes += counts.lost
            summary.unverified_writes += counts.unverified
            summary.hung += one.hung
            summary.disconnected += not one.established
            if counts.lost:
                self._report.lost(conn, blocks=counts.lost)
        summary.acknowledged_writes = (
            summary.verified_writes + summary.lost_writes + summary.unverified_writes
        )
        if self._output is not None:
            write_output(self._output, self._layout.block_size, self._documents)
        return self._report.finish()


async def _start(argv: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def _watch_errors(fio: asyncio.subprocess.Process) -> str:
    """Its first error line. It is killed if the errors do not stop."""
    assert fio.stderr is not None
    first, dead = "", 0
    async for line in fio.stderr:
        first = first or line.decode(errors="replace").strip()
        dead += DEAD in line
        if dead == MAX_DEAD_LINES:
            fio.kill()
    return first


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout, Path | None]:
    """The checked command line. Exits with status 2 if it is wrong."""
    parser = make_parser(PROG, TEXT, NBD_PORT, FIO_CONNECTIONS, FIO_UNSUPPORTED)
    add_block_options(parser)
    parser.add_argument(
        "--fio-output", type=Path, help="file for fio's own JSON output"
    )
    args = parser.parse_args(argv)
    options, layout = block_options(parser, args, FILES_PER_FIO)
    return options, layout, args.fio_output


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""

    parsed = parse_arguments(argv)

    async def run(scratch: Path) -> int:
        return await FioClient(*parsed, scratch).run()

    with tempfile.TemporaryDirectory(prefix="fio-") as folder:
        return asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
