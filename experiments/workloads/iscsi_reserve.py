"""``iscsi-reserve``: tgt on every node, clients that reserve logical units of their own."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads.iscsi import nop_options
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.iscsi_server import ISCSI_PORT
from nodes.servers.iscsi_units import (
    RESERVE_CLIENTS,
    RESERVE_CONNECTIONS,
    RESERVE_UNSUPPORTED,
    create_units,
    unit_files,
)
from nodes.servers.server_settings import AS_SHIPPED, NOP, ServerSettings


def server(store: Path, settings: ServerSettings = AS_SHIPPED) -> list[str]:
    """``nodes/servers/iscsi_server.py`` on all units; it executes tgtd."""
    return [
        sys.executable,
        program("servers/iscsi_server"),
        "--file",
        *map(str, unit_files(store)),
        f"--control={store / 'tgt'}",
        *nop_options(settings),
    ]


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/iscsi_reserve_client.py`` on this client's own units."""
    return [
        sys.executable,
        program("clients/iscsi_reserve_client"),
        *job.shared_options(ISCSI_PORT),
        f"--client-index={job.index - 1}",
    ]


def lock_monitor(store: Path) -> list[str]:
    """``nodes/clients/reservation_monitor.py``: it asks every target."""
    return [
        sys.executable,
        program("clients/reservation_monitor"),
        f"--store={store}",
    ]


def tune(settings: ServerSettings) -> Workload:
    """With tgtd's own settings."""
    return replace(WORKLOAD, server=functools.partial(server, settings=settings))


WORKLOAD = Workload(
    name="iscsi-reserve",
    summary="tgt on each node; clients hold SCSI reservations of their own units",
    port=ISCSI_PORT,
    prepare=create_units,
    server=server,
    client=client,
    unsupported=RESERVE_UNSUPPORTED,
    max_connections=lambda _pattern: RESERVE_CONNECTIONS,
    max_clients=RESERVE_CLIENTS,
    lock_monitor=lock_monitor,
    heeds=NOP | {"retries"},
    tune=tune,
)
