"""``iscsi``: tgt on every node over one shared backing file, libiscsi clients."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.iscsi_server import ISCSI_PORT, ISCSI_REFUSES
from nodes.nbd_server import backing_size, create_backing_file
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
    """``nodes/iscsi_server.py``, which becomes tgtd, over the shared file."""
    return [
        sys.executable,
        program("iscsi_server"),
        f"--file={store / 'disk'}",
        f"--control={store / 'tgt'}",
    ]


def client(job: ClientJob) -> list[str]:
    """``nodes/iscsi_client.py`` on this client's own region of the unit."""
    return [
        sys.executable,
        program("iscsi_client"),
        *job.shared_options(ISCSI_PORT),
        f"--region-size={REGION_SIZE}",
        f"--client-index={job.index - 1}",
        f"--blocks={BLOCKS}",
    ]


WORKLOAD = Workload(
    name="iscsi",
    summary="tgt over one shared store; libiscsi clients write, read back, reconnect",
    port=ISCSI_PORT,
    prepare=prepare,
    server=server,
    client=client,
    refuses=ISCSI_REFUSES,
)
