"""``nbd``: nbdkit on every node over one shared backing file, libnbd clients."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads.blocks import block_connections, prepare_disk, region_options
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.nbd_server import NBD_PORT, NBD_UNSUPPORTED, nbdkit_argv
from nodes.servers.server_settings import ServerSettings


def server(store: Path) -> list[str]:
    """nbdkit on the shared file."""
    return nbdkit_argv(store / "disk")


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/nbd_client.py`` on this client's own region of the export."""
    return [
        sys.executable,
        program("clients/nbd_client"),
        *job.shared_options(NBD_PORT),
        *region_options(job),
    ]


def tune(settings: ServerSettings) -> Workload:
    """With nbdkit's limit of clients."""
    return replace(
        WORKLOAD,
        server=lambda store: nbdkit_argv(store / "disk", slots=settings.slots),
    )


WORKLOAD = Workload(
    name="nbd",
    summary="nbdkit over one shared store; clients write, read back, reconnect",
    port=NBD_PORT,
    prepare=prepare_disk,
    server=server,
    client=client,
    unsupported=NBD_UNSUPPORTED,
    max_connections=block_connections,
    heeds=frozenset({"retries", "slots"}),
    tune=tune,
)
