"""``nbd``: nbdkit on every node over one shared backing file, libnbd clients."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.nbd_server import (
    NBD_PORT,
    NBD_REFUSES,
    backing_size,
    create_backing_file,
    nbdkit_argv,
)
from topologies.plan import MAX_CLIENTS

#: Bytes of each client's own region: room for 256 connections of large blocks. The
#: file is sparse: untouched regions are free.
REGION_SIZE = 512 * 2**20
#: Blocks that one connection goes round.
BLOCKS = 8


def prepare(store: Path) -> None:
    """The backing file that all nodes share, with a region for every client."""
    create_backing_file(store / "disk", backing_size(MAX_CLIENTS, REGION_SIZE))


def server(store: Path) -> list[str]:
    """nbdkit over the shared file."""
    return nbdkit_argv(store / "disk")


def client(job: ClientJob) -> list[str]:
    """``nodes/nbd_client.py`` on this client's own region of the export."""
    return [
        sys.executable,
        program("nbd_client"),
        *job.shared_options(NBD_PORT),
        f"--region-size={REGION_SIZE}",
        f"--client-index={job.index - 1}",
        f"--blocks={BLOCKS}",
    ]


WORKLOAD = Workload(
    name="nbd",
    summary="nbdkit over one shared store; clients write, read back, reconnect",
    port=NBD_PORT,
    prepare=prepare,
    server=server,
    client=client,
    refuses=NBD_REFUSES,
)
