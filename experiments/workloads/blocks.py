"""Shared parts of the workloads that write blocks: each client has its own region."""

from __future__ import annotations

from pathlib import Path

from experiments.workloads.workload import ClientJob
from nodes.clients.capacity import BLOCK_CONNECTIONS, FIO_CONNECTIONS, block_size
from nodes.clients.patterns import Pattern
from nodes.servers.nbd_server import backing_size, create_backing_file
from topologies.domain.plan import MAX_CLIENTS

#: Bytes of each client's region of the store, or of its object names: enough for 256
#: connections with large blocks. The store is sparse: unused regions take no space.
REGION_SIZE = 512 * 2**20
#: Number of blocks of one connection, which are written in turn.
BLOCKS = 8


def prepare_disk(store: Path) -> None:
    """Creates the backing file that all nodes share, with a region for every client."""
    create_backing_file(store / "disk", backing_size(MAX_CLIENTS, REGION_SIZE))


def region_options(job: ClientJob) -> list[str]:
    """The options that give a client its region (nodes/clients/block_options.py)."""
    return [
        f"--region-size={REGION_SIZE}",
        f"--client-index={job.index - 1}",
        f"--blocks={BLOCKS}",
    ]


def block_connections(pattern: Pattern) -> int:
    """The maximum of connections of one client, by pattern."""
    return min(BLOCK_CONNECTIONS, REGION_SIZE // (BLOCKS * block_size(pattern)))


def fio_connections(pattern: Pattern) -> int:
    """The maximum of connections of one fio client, by pattern."""
    return min(FIO_CONNECTIONS, block_connections(pattern))
