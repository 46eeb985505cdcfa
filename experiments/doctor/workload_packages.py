"""Packages that only one workload or policy needs are installed when it is first asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from experiments.machine.requirements import RequirementMissing
from experiments.workloads.workload import Workload

_SET_UP = Path(__file__).resolve().parents[2] / "resetbed"


def require_packages(workload: Workload) -> None:
    """Installs what ``setup.cfg`` lists for that workload alone, if it is missing.

    The part of its name before a dash counts: ``smb-durable`` is a kind of ``smb``. It says
    so while it does. Raises
    :class:`~experiments.machine.requirements.RequirementMissing` if that fails.
    """
    if workload.extra_packages:
        require_listed(workload.name.partition("-")[0], f"the workload {workload.name}")


def require_listed(name: str, what: str) -> None:
    """Installs ``NAME_packages`` of ``setup.cfg``, which ``what`` needs, if they are missing.

    Raises :class:`~experiments.machine.requirements.RequirementMissing` if that fails.
    """
    done = subprocess.run([_SET_UP, "setup", "workload", name], check=False)
    if done.returncode:
        raise RequirementMissing(f"{what} needs packages that are missing (see above)")
