"""The definition of a workload: the commands of its servers and clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes.clients.patterns import BUSY, Pattern, supported_patterns
from nodes.servers.server_settings import AS_SHIPPED, ServerSettings


@dataclass(frozen=True)
class ClientJob:
    """The work of one client host. ``interval_ms``: pause between two requests.

    ``folder``: where the host may write files besides its report; None: nowhere.
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
        """The options that all client programs have in common."""
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
    """The path of a script in ``nodes/``, e.g. ``servers/echo_server``."""
    return str(Path(__file__).resolve().parents[2] / "nodes" / f"{name}.py")


@dataclass(frozen=True)
class Workload:
    """One storage protocol. Its servers and clients are ordinary programs.

    ``prepare(store)`` creates the data that all nodes share, in the directory ``store``.
    ``server(store)`` is the command line on a node, ``client(job)`` the one on a client
    host. The client's report is defined in :mod:`nodes.clients.client_report`.
    ``max_connections(pattern)``: the limit of one client. ``unsupported``: traffic patterns
    (:mod:`nodes.clients.patterns`) that its clients do not support, each with the reason.
    ``figures(folder)``: measurements of the clients themselves, from files in the folder of
    the hosts' output. They go into ``summary.json`` under the workload's name.

    For workloads that hold locks: ``backend(store)``: the command line of a program that
    all servers share, and ``backend_is_ready(store)``; ``lock_monitor(store)``: of one that
    writes what is locked, and by whom (:mod:`nodes.servers.lock_log`). ``locks_outlive``:
    whether a lock is kept by design when its connection has ended. ``max_total``: the limit
    of all clients together, ``max_clients`` of client hosts. ``extra_packages``: whether
    ``setup.cfg`` lists packages that only this workload needs.

    ``heeds``: the settings (:class:`~nodes.servers.server_settings.ServerSettings`) that
    change what its servers do. ``tune``: the workload with its servers set so, where a
    setting is not the kernel's alone.
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
    backend: Callable[[Path], list[str]] | None = None
    backend_is_ready: Callable[[Path], bool] | None = None
    lock_monitor: Callable[[Path], list[str]] | None = None
    locks_outlive: bool = False
    max_total: int | None = None
    max_clients: int | None = None
    extra_packages: bool = False
    heeds: frozenset[str] = frozenset({"retries"})
    tune: Callable[[ServerSettings], Workload] | None = None

    def tuned(self, settings: ServerSettings) -> Workload:
        """This workload, with its servers set so."""
        if self.tune is None or settings == AS_SHIPPED:
            return self
        return self.tune(settings)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The traffic patterns that its clients support."""
        return supported_patterns(self.unsupported)
