"""A network namespace with a loopback, and real servers and clients run inside it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from nodes.clients.block_log import BlockWrite
from nodes.clients.client_ports import seeded_ports
from nodes.clients.client_report import ClientReport, Event, parse_report
from nodes.servers.nbd_server import create_backing_file, nbdkit_argv
from nodes.servers.server_ready import wait_listening

T = TypeVar("T")

NODES = Path(__file__).parents[2] / "nodes"
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
SEED, STREAM = 7, "h1"
PORTS = seeded_ports(SEED, STREAM)
BLOCK_SIZE = 4096
#: Blocks of a connection in these tests.
BLOCKS = 4

_LIBC = ctypes.CDLL(None, use_errno=True)


def eventually(what: Callable[[], T], timeout_s: float = 15.0) -> T:
    """Poll ``what`` until its value is true, and return it. Fails at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := what()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        time.sleep(0.01)
    return value


class RunningClient:
    """A client program, its report so far, and its end."""

    def __init__(self, process: subprocess.Popen[bytes], report: Path) -> None:
        self.process = process
        self._path = report

    @property
    def report(self) -> ClientReport:
        """What it has reported until now."""
        return parse_report(self._path)

    def wait_for(self, kind: str, count: int = 1) -> tuple[Event, ...]:
        """The events of that kind, once there are ``count`` of them."""
        eventually(lambda: len(self.report.of_kind(kind)) >= count)
        return self.report.of_kind(kind)

    def terminate(self) -> tuple[int, ClientReport]:
        """SIGTERM. Its exit status and whole report."""
        self.process.terminate()
        return self.join()

    def join(self) -> tuple[int, ClientReport]:
        """Its exit status and whole report, once it ends."""
        return self.process.wait(timeout=15), self.report


class Bench:
    """A network namespace for one test. Processes started in it end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        # cat ends with its standard input: even a killed test run leaves nothing.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._netns = f"/proc/{self._holder.pid}/ns/net"

    def start(self, argv: list[str], output: Path | None = None) -> int:
        """Start a program in the namespace; its process id."""
        return self._start(argv, output or self.directory / "output").pid

    def stop(self, pid: int) -> None:
        """SIGKILL to a program of :meth:`start`, and wait for its end."""
        process = next(p for p in self._processes if p.pid == pid)
        process.kill()
        process.wait()

    def run(self, *argv: str) -> str:
        """Run a command in the namespace. Returns its output; fails if it fails."""
        return subprocess.run(
            ["nsenter", f"--net={self._netns}", "--", *argv],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def client(self, program: str, *options: str, ip: int = 4) -> RunningClient:
        """Start ``nodes/clients/{program}.py`` against the loopback address."""
        report = self.directory / f"report-{len(self._processes)}"
        shared = [f"--target={LOOPBACK[ip]}", f"--seed={SEED}", f"--stream={STREAM}"]
        argv = [
            sys.executable,
            str(NODES / "clients" / f"{program}.py"),
            *shared,
            *options,
        ]
        return RunningClient(self._start(argv, report), report)

    def connect(self, port: int) -> socket.socket:
        """A socket of this process, connected inside the namespace."""
        with self._entered():
            sock = socket.socket()
        sock.settimeout(10)
        sock.connect((LOOPBACK[4], port))
        return sock

    def reset(self, client: RunningClient, server_port: int) -> None:
        """Destroy the server's connections in the kernel: each peer gets a RST.

        The client stands still meanwhile, or what it opens again would be destroyed too.
        """
        client.process.send_signal(signal.SIGSTOP)
        try:
            self.destroy(server_port)
        finally:
            client.process.send_signal(signal.SIGCONT)

    def destroy(self, server_port: int) -> None:
        """Destroy the server's connections, and whatever it accepts meanwhile."""
        self.run("ss", "-Ktn", "state", "established", f"sport = :{server_port}")

    def wait_for_unacknowledged(self, server_port: int, connections: int) -> None:
        """Wait until that many clients have unacknowledged data."""
        which = ("state", "established", f"dport = :{server_port}")
        eventually(
            lambda: (
                sum(int(line.split()[1]) > 0 for line in self._ss(*which))
                == connections
            )
        )

    def _ss(self, *which: str) -> list[str]:
        return self.run("ss", "-tnH", *which).splitlines()

    def drop(self, match: str) -> None:
        """Drop incoming packets that match, e.g. ``tcp dport 7777``."""
        self.run("nft", "add table inet t")
        self.run("nft", "add chain inet t in { type filter hook input priority 0; }")
        self.run("nft", f"add rule inet t in {match} drop")

    def pass_all(self) -> None:
        """Take back :meth:`drop`."""
        self.run("nft", "delete table inet t")

    def close(self) -> None:
        """End everything that was started here."""
        for process in [*self._processes, self._holder]:
            process.kill()
            process.wait()

    def _start(self, argv: list[str], output: Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as stdout:
            process = subprocess.Popen(
                ["nsenter", f"--net={self._netns}", "--", *argv], stdout=stdout
            )
        self._processes.append(process)
        return process

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """This thread in the namespace: sockets made meanwhile stay there."""
        with open("/proc/thread-self/ns/net") as home, open(self._netns) as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())


class NbdBench(Bench):
    """A bench with nbdkit over a backing file."""

    PORT = 10809

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.file = directory / "store"
        create_backing_file(self.file, 2**20)
        self.server = self.serve()

    def serve(self, port: int = PORT) -> int:
        """Start nbdkit; its process id, once it listens."""
        pid = self.start(nbdkit_argv(self.file, port))
        wait_listening(pid, port)
        return pid

    def nbd_client(self, connections: int, *options: str, ip: int = 4) -> RunningClient:
        """An NBD client with small regions, once all its connections are open."""
        client = self.client(
            "nbd_client",
            f"--connections={connections}",
            f"--blocks={BLOCKS}",
            f"--block-size={BLOCK_SIZE}",
            f"--region-size={2**20}",
            *options,
            ip=ip,
        )
        client.wait_for("ready")
        return client

    def generation(self, conn: int) -> int:
        """The newest generation that connection has on the store; -1 before that."""
        return max(
            (w.generation for w in map(BlockWrite.decode, self.blocks(conn)) if w),
            default=-1,
        )

    def blocks(self, conn: int) -> list[bytes]:
        """What is in that connection's blocks."""
        data = self.file.read_bytes()
        first = conn * BLOCKS * BLOCK_SIZE
        return [data[first + b * BLOCK_SIZE :][:BLOCK_SIZE] for b in range(BLOCKS)]

    def overwrite(self, conn: int, block: int, data: bytes) -> None:
        """Change a block behind everybody's back."""
        with self.file.open("r+b") as store:
            store.seek((conn * BLOCKS + block) * BLOCK_SIZE)
            store.write(data)


class EchoBench(Bench):
    """A bench with an echo server."""

    PORT = 7777

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.server = self.serve()

    def serve(self, *prefix: str) -> int:
        """Start the server, through ``prefix`` if given; its process id when ready."""
        pid = self.start([*prefix, *self.argv()], self.directory / "server")
        wait_listening(pid, self.PORT)
        return pid

    def argv(self) -> list[str]:
        """The server's command line."""
        return [
            sys.executable,
            str(NODES / "servers" / "echo_server.py"),
            f"--port={self.PORT}",
        ]

    @property
    def server_report(self) -> ClientReport:
        """The output of the last server."""
        return parse_report(self.directory / "server")

    def echo_client(
        self, connections: int, *options: str, ip: int = 4
    ) -> RunningClient:
        """An echo client, once all its connections are open."""
        client = self.client(
            "echo_client", f"--connections={connections}", *options, ip=ip
        )
        client.wait_for("ready")
        return client


def _setns(fd: int) -> None:
    """setns(2); os.setns is there from Python 3.12."""
    if _LIBC.setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
