"""Packages that only one workload needs are installed when it is first asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from experiments.machine.requirements import RequirementMissing
from experiments.workloads.workload import Workload

_SET_UP = Path(__file__).resolve().parents[2] / "resetbed"


def require_packages(workload: Workload) -> None:
    """Installs what ``setup.cfg`` lists for that workload alone, if it is missing.

    The part of its name before a dash counts: ``nfs-short`` is a kind of ``nfs``. It says so while it does. Raises
    :class:`~experiments.machine.requirements.RequirementMissing` if that fails.
    """
    if not workload.extra_packages:
        return
    family = workload.name.partition("-")[0]
    done = subprocess.run([_SET_UP, "setup", "workload", family], check=False)
    if done.returncode:
        raise RequirementMissing(
            f"the workload {workload.name} needs packages that are missing (see above)"
        )
