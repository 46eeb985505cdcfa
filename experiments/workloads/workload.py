"""What a workload is: how its server starts on a node, and its clients on a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes.clients.patterns import BUSY, Pattern, possible


@dataclass(frozen=True)
class ClientJob:
    """What one client host is to do; ``interval_ms`` is between two requests.

    ``folder``: where the host may leave files beside its report; None: nowhere.
    """

    target: str
    connections: int
    seed: int
    host: str
    index: int
    interval_ms: float
    pattern: str = BUSY.name
    folder: Path | None = None

    def shared_options(self, port: int) -> list[str]:
        """The options that every client program of ours has."""
        return [
            f"--target={self.target}",
            f"--port={port}",
            f"--connections={self.connections}",
            f"--seed={self.seed}",
            f"--stream={self.host}",
            f"--interval-ms={self.interval_ms}",
            f"--pattern={self.pattern}",
        ]


def program(name: str) -> str:
    """Path of a program of ``nodes/``, e.g. ``servers/echo_server``, to be run as a script."""
    return str(Path(__file__).resolve().parents[2] / "nodes" / f"{name}.py")


@dataclass(frozen=True)
class Workload:
    """One storage protocol: ordinary programs that know nothing of the testbed.

    ``prepare(store)`` makes what all nodes share, inside the directory ``store``;
    ``server(store)`` is the command line on a node and ``client(job)`` the one on a
    client host. The client reports as :mod:`nodes.clients.client_report` says.
    ``max_connections(pattern)``: how many connections one client holds. ``unsupported``: the traffic
    patterns (:mod:`nodes.clients.patterns`) that its clients cannot follow, and why.
    ``figures(folder)``: what its clients measured by themselves, from the files that they
    left in the folder of the hosts' output; in ``summary.json`` under the workload's name.
    """

    name: str
    summary: str
    port: int
    prepare: Callable[[Path], None]
    server: Callable[[Path], list[str]]
    client: Callable[[ClientJob], list[str]]
    max_connections: Callable[[Pattern], int]
    unsupported: Mapping[str, str] = field(default_factory=dict)
    figures: Callable[[Path], Mapping[str, Any]] | None = None

    @property
    def patterns(self) -> tuple[str, ...]:
        """The traffic patterns that its clients can follow."""
        return possible(self.unsupported)
