"""``postgres``: transactions that hold locks, through a PgBouncer on every node."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.postgres_server import (
    PGBOUNCER_PORT,
    POSTGRES_CONNECTIONS,
    POSTGRES_TOTAL,
    POSTGRES_UNSUPPORTED,
    create_database,
    database_address,
    database_argv,
    database_is_ready,
    pgbouncer_argv,
)
from nodes.servers.server_settings import NOP, SETTINGS, ServerSettings


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/postgres_client.py`` on this client's own accounts."""
    return [
        sys.executable,
        program("clients/postgres_client"),
        *job.shared_options(PGBOUNCER_PORT),
        f"--client-index={job.index - 1}",
    ]


def lock_monitor(store: Path) -> list[str]:
    """``nodes/servers/postgres_locks.py``, in the database itself."""
    return [
        sys.executable,
        program("servers/postgres_locks"),
        f"--database={database_address(store)}",
    ]


def tune(settings: ServerSettings) -> Workload:
    """With PgBouncer's own settings."""
    prepare = functools.partial(create_database, settings=settings)
    return replace(WORKLOAD, prepare=prepare)


WORKLOAD = Workload(
    name="postgres",
    summary="PostgreSQL behind a PgBouncer on each node; transactions hold locks",
    port=PGBOUNCER_PORT,
    prepare=create_database,
    server=pgbouncer_argv,
    client=client,
    unsupported=POSTGRES_UNSUPPORTED,
    max_connections=lambda _pattern: POSTGRES_CONNECTIONS,
    max_total=POSTGRES_TOTAL,
    backend=database_argv,
    backend_is_ready=database_is_ready,
    lock_monitor=lock_monitor,
    extra_packages=True,
    heeds=SETTINGS - NOP,
    tune=tune,
)
