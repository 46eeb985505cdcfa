"""``smb-durable``: as ``smb``, with shared databases and durable handles."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from experiments.workloads import smb
from experiments.workloads.workload import ClientJob, program
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


WORKLOAD = replace(
    smb.WORKLOAD,
    name="smb-durable",
    summary="as smb, with shared databases (as CTDB's) and durable handles",
    prepare=create_clustered_share,
    client=client,
    lock_monitor=lock_monitor,
    locks_outlive=True,
)
