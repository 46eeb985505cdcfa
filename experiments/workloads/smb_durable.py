"""``smb-durable``: as ``smb``, with shared databases and durable handles."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads import smb
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.server_settings import ServerSettings
from nodes.servers.smb_server import create_clustered_share, status_configuration


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/smb_client.py`` with durable handles."""
    return [*smb.client(job), "--durable"]


def lock_monitor(store: Path) -> list[str]:
    """``nodes/servers/smb_locks.py`` by smbstatus."""
    return [
        sys.executable,
        program("servers/smb_locks"),
        f"--status={status_configuration(store)}",
    ]


def tune(settings: ServerSettings) -> Workload:
    """With smbd's own settings."""
    prepare = functools.partial(create_clustered_share, settings=settings)
    return replace(WORKLOAD, prepare=prepare)


WORKLOAD = replace(
    smb.WORKLOAD,
    name="smb-durable",
    summary="as smb, with shared databases (as CTDB's) and durable handles",
    prepare=create_clustered_share,
    client=client,
    lock_monitor=lock_monitor,
    locks_outlive=True,
    tune=tune,
)
