#!/usr/bin/env python3
"""An NBD client that leaves the history of each of its blocks, and misbehaves on demand.

Each slot has its own blocks and one connection at a time. It writes a value that no other
write has, reads a block, waits, and goes on; after some requests it ends the connection
and opens the next. When a connection breaks, the write in flight has an open fate: it is
not repeated. SIGUSR1: about half of the slots abort (SO_LINGER 0, RFC 9293, 3.10.5) and
go on from other source ports; SIGUSR2: from the same ports. SIGTERM ends it.

Standard output is the history: one JSON array a line, ``[t, operation, block, value]``,
``t`` in CLOCK_REALTIME seconds. The operations are ``w`` (a write begins), ``a`` (it was
acknowledged) and ``r`` (a read returned that value; 0: never written, -1: no write of
these clients). A slot has one request in flight, so the order of the lines of a block is
the order of its operations.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_log import BlockWrite
from nodes.clients.client_ports import PORT_RANGE
from nodes.clients.client_runtime import with_timeout
from nodes.clients.nbd_session import NbdSession
from nodes.servers.nbd_server import NBD_PORT

BLOCK_SIZE = 512
#: Distance of two blocks in the export, in bytes.
BLOCK_STEP = 4096
#: Blocks of one slot, and requests before it ends its connection.
BLOCKS = 4
REQUESTS = (10, 200)
#: Share of the connections that a slot ends by an abort.
ABORTS = 0.1
OPEN_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 1.0
RETRY_S = 0.1
#: SO_LINGER on, 0 seconds: close(2) sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)


class Slot:
    """One connection after the other to one address, and the slot's blocks."""

    def __init__(self, number: int, client: RegisterClient, target: str) -> None:
        self._client = client
        self._target = target
        self._random = random.Random(f"{client.options.seed}/{number}")
        first = client.options.first_block + number * BLOCKS
        self._blocks = range(first, first + BLOCKS)
        self._work: asyncio.Task[None] | None = None
        self._same_port = False
        self._port = 0

    async def run(self) -> None:
        """Opens, works and ends connections until it is cancelled."""
        while True:
            self._work = asyncio.create_task(self._one_connection())
            try:
                await asyncio.wait({self._work})
            finally:
                self._work.cancel()
            await asyncio.sleep(0 if self._work.cancelled() else RETRY_S)

    def abort(self, same_port: bool) -> None:
        """Aborts the connection, if there is one."""
        self._same_port = same_port
        if self._work is not None:
            self._work.cancel()

    async def _one_connection(self) -> None:
        with contextlib.suppress(OSError), self._bound() as sock:
            loop = asyncio.get_running_loop()
            address = self._target, NBD_PORT
            await with_timeout(OPEN_TIMEOUT_S, loop.sock_connect(sock, address))
            _prepare(sock)
            session = NbdSession(sock)
            try:
                await with_timeout(OPEN_TIMEOUT_S, session.handshake())
                await self._requests(session)
            except (asyncio.CancelledError, OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                raise
            finally:
                session.close()

    async def _requests(self, session: NbdSession) -> None:
        """Some requests, then an end of either kind. Raises ``OSError``."""
        for _ in range(self._random.randint(*REQUESTS)):
            block = self._random.choice(self._blocks)
            if self._random.random() < 0.5:
                await self._write(session, block)
            else:
                await self._read(session, block)
            await asyncio.sleep(self._client.options.interval_s)
        if self._random.random() < ABORTS:
            raise ConnectionAbortedError
        await with_timeout(CLOSE_TIMEOUT_S, session.disconnect())

    async def _write(self, session: NbdSession, block: int) -> None:
        write = self._client.new_write(block)
        value = value_of(write)
        self._client.report("w", block, value)
        await session.write(block * BLOCK_STEP, write.encode(BLOCK_SIZE))
        self._client.report("a", block, value)

    async def _read(self, session: NbdSession, block: int) -> None:
        data = await session.read(block * BLOCK_STEP, BLOCK_SIZE)
        found = BlockWrite.decode(data)
        untouched = 0 if not any(data) else -1
        self._client.report("r", block, value_of(found) if found else untouched)

    @contextlib.contextmanager
    def _bound(self) -> Iterator[socket.socket]:
        """A socket bound to a source port. Raises ``OSError`` if the port is in use."""
        keep, self._same_port = self._same_port and self._port, False
        self._port = self._port if keep else self._random.choice(PORT_RANGE)
        family = socket.AF_INET6 if ":" in self._target else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            sock.bind(("", self._port))
            yield sock


class RegisterClient:
    """All slots of this process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._run = time.time_ns()
        self._writes = 0
        self._random = random.Random(options.seed)
        self._slots = [
            Slot(number, self, options.target[number % len(options.target)])
            for number in range(options.slots)
        ]

    def new_write(self, block: int) -> BlockWrite:
        """A write that no other write of any client equals."""
        self._writes += 1
        return BlockWrite(self._run, 0, block, self._writes)

    def report(self, operation: str, block: int, value: int) -> None:
        """One line of the history, before anything else happens."""
        line = json.dumps([round(time.time(), 6), operation, block, value])
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    async def run(self) -> None:
        """Works until SIGTERM."""
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, lambda: _set(end))
        loop.add_signal_handler(signal.SIGUSR1, self._abort_half, False)
        loop.add_signal_handler(signal.SIGUSR2, self._abort_half, True)
        tasks = [asyncio.create_task(slot.run()) for slot in self._slots]
        await asyncio.wait({end, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort_half(self, same_port: bool) -> None:
        for slot in self._slots:
            if self._random.random() < 0.5:
                slot.abort(same_port)


def value_of(write: BlockWrite) -> int:
    """The value of a write: a client starts at most once in a nanosecond, and makes fewer
    writes a second than nanoseconds pass."""
    return write.run + write.generation


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _prepare(sock: socket.socket) -> None:
    """No delay; keepalive after a second, since a node may fail with nothing in flight."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


def parse_options(argv: list[str]) -> argparse.Namespace:
    """The command line. Exits with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog="register_client.py", description=__doc__)
    add = parser.add_argument
    add(
        "--target",
        action="append",
        required=True,
        help="address; one slot after another",
    )
    add("--slots", type=int, default=8, help="connections at a time")
    add("--seed", default="1", help="determines ports, blocks and pauses")
    add("--first-block", type=int, default=0, help="first block of this client")
    add("--interval-ms", type=float, default=100.0, help="pause between two requests")
    options = parser.parse_args(argv)
    options.interval_s = options.interval_ms / 1000
    return options


def main(argv: list[str]) -> int:
    """Runs the client until SIGTERM."""
    asyncio.run(RegisterClient(parse_options(argv)).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
