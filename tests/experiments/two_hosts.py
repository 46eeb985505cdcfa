"""Two network namespaces joined by a veth pair: a client and a node with the VIP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from nodes.kernel.network_namespace import enter_netns
from topologies.domain.plan import PREFIX4, PREFIX6, VIP4, VIP6, Client, Node

CLIENT, NODE = Client(1), Node(1, 1)
DEADLINE_S = 10.0
Made = TypeVar("Made")


@dataclass(frozen=True)
class TwoHosts:
    """Pids of a process in each namespace; interfaces are named as in a cluster."""

    client: int
    node: int

    def at(self, pid: int, make: Callable[[], Made]) -> Made:
        """What ``make`` makes inside the network namespace of ``pid``."""
        with enter_netns(pid):
            return make()

    def ip(self, pid: int, command: str) -> None:
        """Runs ``ip command`` in the namespace of ``pid``."""
        enter = ["nsenter", "-t", str(pid), "-n", "ip"]
        subprocess.run([*enter, *command.split()], check=True)

    def connect(self, server: socket.socket, family: int) -> socket.socket:
        """A connection of the client to ``server``, which listens on the node."""
        client = self.at(self.client, lambda: socket.socket(family))
        client.settimeout(DEADLINE_S)
        client.connect(server.getsockname()[:2])
        return client

    def listen(self, family: int, port: int) -> socket.socket:
        """A listener on the VIP, at the node."""
        server = self.at(self.node, lambda: socket.socket(family))
        server.settimeout(DEADLINE_S)
        server.bind((VIP4 if family == socket.AF_INET else VIP6, port))
        server.listen(1024)
        return server


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Makes both hosts; they and all that is in them end with the block."""
    with _namespace() as client, _namespace() as node:
        hosts = TwoHosts(client, node)
        hosts.ip(
            client,
            f"link add {CLIENT.interface} type veth "
            f"peer name {NODE.interface} netns {node}",
        )
        addresses4 = {client: CLIENT.ipv4, node: VIP4}
        addresses6 = {client: CLIENT.ipv6, node: VIP6}
        for pid, name in ((client, CLIENT.interface), (node, NODE.interface)):
            hosts.ip(pid, f"addr add {addresses4[pid]}/{PREFIX4} dev {name}")
            hosts.ip(pid, f"addr add {addresses6[pid]}/{PREFIX6} dev {name} nodad")
            hosts.ip(pid, f"link set {name} up")
        yield hosts


@contextmanager
def _namespace() -> Iterator[int]:
    # The shell reports when it is inside, so that the old namespace is not entered.
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo inside; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"inside\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


class JsonLines:
    """A program of ours that answers with JSON lines, ended by SIGTERM."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def read(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def say(self, message: dict[str, Any]) -> None:
        """Sends one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")

    def end(self) -> dict[str, Any]:
        """Its last line, after SIGTERM; it must have ended well."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        last: dict[str, Any] = json.loads(output.splitlines()[-1])
        return last


@contextmanager
def running(module: str, *arguments: str) -> Iterator[JsonLines]:
    """The program ``python -m module``, which does not outlive the block."""
    program = JsonLines(module, *arguments)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()
