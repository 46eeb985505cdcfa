"""What a workload is: how its server starts on a node, and its clients on a host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClientJob:
    """What one client host is to do; ``interval_ms`` is between two requests."""

    target: str
    connections: int
    seed: int
    host: str
    index: int
    interval_ms: float

    def shared_options(self, port: int) -> list[str]:
        """The options that every client program of ours has."""
        return [
            f"--target={self.target}",
            f"--port={port}",
            f"--connections={self.connections}",
            f"--seed={self.seed}",
            f"--stream={self.host}",
            f"--interval-ms={self.interval_ms}",
        ]


def program(module: str) -> str:
    """Path of a program of ``nodes/``, to be run as a script on a host."""
    return str(Path(__file__).resolve().parents[2] / "nodes" / f"{module}.py")


@dataclass(frozen=True)
class Workload:
    """One storage protocol: ordinary programs that know nothing of the testbed.

    ``prepare(store)`` makes what all nodes share, inside the directory ``store``;
    ``server(store)`` is the command line on a node and ``client(job)`` the one on a
    client host. The client reports as :mod:`nodes.client_report` says.
    """

    name: str
    summary: str
    port: int
    prepare: Callable[[Path], None]
    server: Callable[[Path], list[str]]
    client: Callable[[ClientJob], list[str]]
