"""``smb``: Samba on every node over one shared folder; sessions hold byte-range locks."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.server_settings import KEEPALIVE, ServerSettings
from nodes.servers.smb_server import (
    SMB_CONNECTIONS,
    SMB_PORT,
    SMB_TOTAL,
    SMB_UNSUPPORTED,
    create_share,
    shared_folder,
    smbd_argv,
)


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/smb_client.py`` on this client's own files."""
    return [
        sys.executable,
        program("clients/smb_client"),
        *job.shared_options(SMB_PORT),
        f"--client-index={job.index - 1}",
    ]


def lock_monitor(store: Path) -> list[str]:
    """``nodes/servers/smb_locks.py`` on the shared folder."""
    return [
        sys.executable,
        program("servers/smb_locks"),
        f"--files={shared_folder(store)}",
    ]


def tune(settings: ServerSettings) -> Workload:
    """With smbd's own settings."""
    prepare = functools.partial(create_share, settings=settings)
    return replace(WORKLOAD, prepare=prepare)


WORKLOAD = Workload(
    name="smb",
    summary="Samba over one shared folder; sessions hold byte-range locks",
    port=SMB_PORT,
    prepare=create_share,
    server=smbd_argv,
    client=client,
    unsupported=SMB_UNSUPPORTED,
    max_connections=lambda _pattern: SMB_CONNECTIONS,
    max_total=SMB_TOTAL,
    lock_monitor=lock_monitor,
    extra_packages=True,
    heeds=KEEPALIVE | {"retries", "user_timeout_s"},
    tune=tune,
)
