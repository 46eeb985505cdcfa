"""``iscsi``: tgt on every node over one shared backing file, libiscsi clients."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads.blocks import block_connections, prepare_disk, region_options
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.iscsi_server import ISCSI_PORT, ISCSI_UNSUPPORTED
from nodes.servers.server_settings import AS_SHIPPED, NOP, ServerSettings


def server(store: Path, settings: ServerSettings = AS_SHIPPED) -> list[str]:
    """``nodes/servers/iscsi_server.py`` on the shared file; it executes tgtd."""
    return [
        sys.executable,
        program("servers/iscsi_server"),
        f"--file={store / 'disk'}",
        f"--control={store / 'tgt'}",
        *nop_options(settings),
    ]


def nop_options(settings: ServerSettings) -> list[str]:
    """How ``iscsi_server.py`` is told to ask the initiators."""
    given = settings.given()
    return [
        f"--{key.replace('_', '-')}={given[key]}" for key in sorted(NOP & given.keys())
    ]


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/iscsi_client.py`` on this client's region of the logical unit."""
    return [
        sys.executable,
        program("clients/iscsi_client"),
        *job.shared_options(ISCSI_PORT),
        *region_options(job),
    ]


def tune(settings: ServerSettings) -> Workload:
    """With tgtd's own settings."""
    return replace(WORKLOAD, server=functools.partial(server, settings=settings))


WORKLOAD = Workload(
    name="iscsi",
    summary="tgt over one shared store; libiscsi clients write, read back, reconnect",
    port=ISCSI_PORT,
    prepare=prepare_disk,
    server=server,
    client=client,
    unsupported=ISCSI_UNSUPPORTED,
    max_connections=block_connections,
    heeds=NOP | {"retries"},
    tune=tune,
)
