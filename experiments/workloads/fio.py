"""``fio``: the load generator fio with its nbd engine; nbdkit on the nodes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.workloads.blocks import fio_connections, prepare_disk, region_options
from experiments.workloads.nbd import server
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.clients.fio_report import figures_of
from nodes.servers.nbd_server import FIO_UNSUPPORTED, NBD_PORT


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/fio_client.py`` on this client's own region of the export."""
    argv = [
        sys.executable,
        program("clients/fio_client"),
        *job.shared_options(NBD_PORT),
        *region_options(job),
    ]
    if job.folder is not None:
        argv.append(f"--fio-output={job.folder / f'{job.host}-fio.json'}")
    return argv


def figures(folder: Path) -> Mapping[str, Any]:
    """IOPS, latency and errors over all clients, from fio's own output."""
    return figures_of(sorted(folder.glob("*-fio.json")))


WORKLOAD = Workload(
    name="fio",
    summary="fio's nbd engine against nbdkit, a fio a connection; verifies, restarts",
    port=NBD_PORT,
    prepare=prepare_disk,
    server=server,
    client=client,
    unsupported=FIO_UNSUPPORTED,
    max_connections=fio_connections,
    figures=figures,
)
