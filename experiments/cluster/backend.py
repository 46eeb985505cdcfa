"""What all storage servers of a workload share: a program of its own, and its monitor.

They run in the cluster's sandbox and on no host, so no event reaches them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.cluster.errors import ClusterError, log_tail
from experiments.cluster.supervised_processes import SupervisedProcesses
from experiments.workloads.workload import Workload
from nodes.servers.lock_log import LOCK_LOG

READY_DEADLINE_S = 30.0
#: How often the backend is asked whether it is ready, in seconds.
POLL_S = 0.05


def start_backend(
    workload: Workload, store: Path, folder: Path, processes: SupervisedProcesses
) -> None:
    """Starts the workload's backend and lock monitor, where it has them.

    ``folder``: of the hosts' output. Returns when the backend is ready; one that ends
    before is started again. Raises :class:`ClusterError` with the end of its log if it is
    not in time.
    """
    if workload.backend is not None:
        argv, log = workload.backend(store), folder / "backend.log"
        processes.start("backend", lambda: _started(argv, log, log))
        _await_ready(workload, store, log, processes)
    if workload.lock_monitor is not None:
        monitor = workload.lock_monitor(store)
        processes.start(
            "lock monitor",
            lambda: _started(monitor, folder / LOCK_LOG, folder / "locks.log"),
        )


def _await_ready(
    workload: Workload, store: Path, log: Path, processes: SupervisedProcesses
) -> None:
    """Returns when the backend is ready. Raises :class:`ClusterError` if it is late."""
    if workload.backend_is_ready is None:
        return
    backend = processes.running["backend"]
    deadline = time.monotonic() + READY_DEADLINE_S
    while not workload.backend_is_ready(store):
        if backend.process.poll() is not None:
            processes.restart(backend)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the backend of {workload.name} is not ready\n{log_tail(log)}"
            )
        time.sleep(POLL_S)


def _started(
    argv: Sequence[str], output: Path, errors: Path
) -> subprocess.Popen[bytes]:
    with output.open("ab") as out, errors.open("ab") as err:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd="/",
            start_new_session=True,
        )
