"""The storage workloads, by name. Each is a module and a line in this registry."""

from __future__ import annotations

from experiments.workloads import echo, fio, http, iscsi, nbd
from experiments.workloads.workload import ClientJob, Workload

__all__ = ["WORKLOADS", "ClientJob", "Workload"]

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        nbd.WORKLOAD,
        iscsi.WORKLOAD,
        http.WORKLOAD,
        fio.WORKLOAD,
        echo.WORKLOAD,
    )
}
