"""What the workloads that write blocks have in common: each client's own region."""

from __future__ import annotations

from pathlib import Path

from experiments.workloads.workload import ClientJob
from nodes.clients.capacity import BLOCK_CONNECTIONS, FIO_CONNECTIONS, block_size
from nodes.clients.patterns import Pattern
from nodes.servers.nbd_server import backing_size, create_backing_file
from topologies.domain.plan import MAX_CLIENTS

#: Bytes of each client's own region of the store, or of names of objects: room for 256
#: connections of large blocks. The store is sparse: untouched regions are free.
REGION_SIZE = 512 * 2**20
#: Blocks that one connection goes round.
BLOCKS = 8


def prepare_disk(store: Path) -> None:
    """The backing file that all nodes share, with a region for every client."""
    create_backing_file(store / "disk", backing_size(MAX_CLIENTS, REGION_SIZE))


def region_options(job: ClientJob) -> list[str]:
    """The options by which a client keeps to its region (nodes/clients/block_options.py)."""
    return [
        f"--region-size={REGION_SIZE}",
        f"--client-index={job.index - 1}",
        f"--blocks={BLOCKS}",
    ]


def block_connections(pattern: Pattern) -> int:
    """How many connections of one client there is room for, by pattern."""
    return min(BLOCK_CONNECTIONS, REGION_SIZE // (BLOCKS * block_size(pattern)))


def fio_connections(pattern: Pattern) -> int:
    """The same for fio."""
    return min(FIO_CONNECTIONS, block_connections(pattern))
