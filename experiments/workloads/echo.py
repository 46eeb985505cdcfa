"""``echo``: an echo service of the testbed, for many connections at low cost."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.clients.capacity import ECHO_CONNECTIONS

ECHO_PORT = 7777


def prepare(_store: Path) -> None:
    """Does nothing: an echo server stores nothing."""


def server(_store: Path) -> list[str]:
    """``nodes/servers/echo_server.py``."""
    return [sys.executable, program("servers/echo_server"), f"--port={ECHO_PORT}"]


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/echo_client.py``."""
    return [
        sys.executable,
        program("clients/echo_client"),
        *job.shared_options(ECHO_PORT),
    ]


WORKLOAD = Workload(
    name="echo",
    summary="an echo service and many connections, each with small requests",
    port=ECHO_PORT,
    prepare=prepare,
    server=server,
    client=client,
    max_connections=lambda _pattern: ECHO_CONNECTIONS,
)
