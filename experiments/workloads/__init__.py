"""The storage workloads, by name. Each is a module and a line in this registry."""

from __future__ import annotations

from experiments.workloads.workload import ClientJob, Workload
from topologies.domain.registry import gathered

__all__ = ["WORKLOADS", "ClientJob", "Workload"]

#: A line each, in the order in which they are listed.
_MODULES = (
    "nbd",
    "iscsi",
    "http",
    "fio",
    "echo",
    "postgres",
    "smb",
    "smb_durable",
    "iscsi_reserve",
    "nfs",
    "nfs_short",
)

#: Every workload, by the name that specifications use.
WORKLOADS: dict[str, Workload] = {
    workload.name: workload for workload in gathered(__name__, _MODULES, Workload)
}
