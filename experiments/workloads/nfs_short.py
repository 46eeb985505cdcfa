"""``nfs-short``: as ``nfs``, with leases as short as an administrator would dare."""

from __future__ import annotations

from experiments.workloads.nfs import nfs_workload

LEASE_S = 3

WORKLOAD = nfs_workload(
    "nfs-short", LEASE_S, f"as nfs, with leases of {LEASE_S} s: locks come back sooner"
)
