"""How Dask is set for tasks of a testbed, whatever a user's own configuration says."""

from __future__ import annotations

import logging
import warnings
from typing import Any

#: The resource of a worker that each task takes one of: so many run at a time.
RESOURCE = "testbed"
#: Where a worker's facts stand in what Dask knows of it.
FACTS = "resetbed"

SETTINGS: dict[str, Any] = {
    # Where a task runs, and whether it runs again, is decided by experiments/fleet/placing.py.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # A profiler that looks 100 times a second would disturb what is measured.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.comm.require-encryption": True,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "30s",
    "distributed.logging": {"distributed": "critical", "bokeh": "critical"},
}


def apply_settings(lost_after_s: float | None = None) -> None:
    """Sets Dask in this process. ``lost_after_s``: silence after which a worker is gone."""
    import dask
    import distributed  # noqa: F401 - it reads its own defaults when it is imported

    given = dict(SETTINGS)
    if lost_after_s is not None:
        given["distributed.scheduler.worker-ttl"] = f"{lost_after_s:g}s"
    dask.config.set(given)
    # What is to be known of an end of a connection, we say ourselves, in one line.
    warnings.filterwarnings("ignore", module=r"distributed\b")
    for name in ("distributed", "bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
