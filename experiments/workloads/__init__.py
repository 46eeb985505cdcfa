"""Storage workloads: one small module each, one line each in the registry below."""

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
