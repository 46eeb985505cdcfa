"""``nfs``: NFS-Ganesha on every node over one folder, libnfs clients that lock files."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.nfs_files import (
    NFS_CLIENTS,
    NFS_CONNECTIONS,
    NFS_UNSUPPORTED,
    create_files,
    exported,
)
from nodes.servers.nfs_server import NFS_PORT
from nodes.servers.server_settings import KEEPALIVE

#: Lease_Lifetime of Ganesha by default, in seconds.
DEFAULT_LEASE_S = 60


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/nfs_client.py`` on the files of this host."""
    return [
        sys.executable,
        program("clients/nfs_client"),
        *job.shared_options(NFS_PORT),
    ]


def lock_monitor(store: Path) -> list[str]:
    """``nodes/servers/nfs_locks.py``: it reads the kernel's list of locks."""
    return [sys.executable, program("servers/nfs_locks"), f"--store={store}"]


def nfs_workload(name: str, lease_s: int, summary: str) -> Workload:
    """Clients whose leases last so long."""

    def server(store: Path) -> list[str]:
        """``nodes/servers/nfs_server.py``, in a mount namespace of its own."""
        return [
            *("unshare", "--mount", "--propagation=private"),
            *(sys.executable, program("servers/nfs_server")),
            f"--folder={exported(store)}",
            f"--state={store / 'nfs'}",
            f"--lease-s={lease_s}",
        ]

    return Workload(
        name=name,
        summary=summary,
        port=NFS_PORT,
        prepare=create_files,
        server=server,
        client=client,
        unsupported=NFS_UNSUPPORTED,
        max_connections=lambda _pattern: NFS_CONNECTIONS,
        max_clients=NFS_CLIENTS,
        lock_monitor=lock_monitor,
        locks_outlive=True,
        extra_packages=True,
        # Ganesha turns keepalive on, with the system's times (Enable_TCP_keepalive).
        heeds=KEEPALIVE | {"retries"},
    )


WORKLOAD = nfs_workload(
    "nfs",
    DEFAULT_LEASE_S,
    f"NFS-Ganesha on each node; locks by leases of {DEFAULT_LEASE_S} s, its default",
)
