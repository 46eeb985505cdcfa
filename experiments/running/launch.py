"""Starts a job in a new sandbox, and waits for it or detaches."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from controller.policies import POLICIES
from experiments.cluster import control
from experiments.doctor.link_requirements import require
from experiments.doctor.workload_packages import require_listed, require_packages
from experiments.files.handover import chown_to_caller, make_folders
from experiments.spec.run_spec import RunSpec
from experiments.workloads import WORKLOADS
from topologies import sandbox
from topologies.datapaths import find_datapath
from topologies.domain.link_options import LinkOptions
from topologies.domain.plan import Plan

READY_DEADLINE_S = 300.0
DOWN_DEADLINE_S = 30.0
#: What a shell adds to the number of the signal that ended a command.
_SIGNALLED = 128


def run_in_sandbox(spec: RunSpec, out: Path | None) -> tuple[int, Path]:
    """Runs one experiment in its own sandbox: (exit status, folder of results).

    Raises :class:`~experiments.machine.requirements.RequirementMissing`, or
    :class:`~topologies.datapaths.DatapathMissing`, before anything is built.
    """
    require(*spec.all_links())
    _require_packages(spec.workload.kind, spec.policy)
    find_datapath(spec.cluster.datapath)
    folder = make_folder(spec, out)
    job = {"job": "run", "spec": spec.model_dump(mode="json"), "out": str(folder)}
    status = _enter(f"run-{os.getpid()}", job, detach=False)
    chown_to_caller(folder)
    return status, folder


def make_folder(spec: RunSpec, out: Path | None) -> Path:
    """An empty folder for a run's results. ``out`` must be new or empty."""
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        label = f"{spec.scenario}-{spec.policy}-{spec.seed}-{stamp}-{os.getpid()}"
        out = Path("results") / label
    return empty_folder(out)


def empty_folder(out: Path) -> Path:
    """Creates that folder if it is missing. Refuses one that is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.UsageError(f"--out {out}: exists and is not an empty folder")
    return make_folders(out)


def launch_up(name: str, plan: Plan, options: Mapping[str, Any]) -> int:
    """Starts a cluster in the background; returns 0 when it serves, otherwise 1.

    Raises :class:`~experiments.machine.requirements.RequirementMissing`, or
    :class:`~topologies.datapaths.DatapathMissing`, before anything is built.
    """
    _enter(name, _cluster_job("up", name, plan, options), detach=True)
    log = _LogFollower(sandbox.run_directory(name) / "log")
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline:
        log.show_new()
        if not sandbox.is_alive(name):
            log.show_new()
            click.echo(f"{name}: the cluster failed to start", err=True)
            return 1
        if _answers(name):
            log.show_new()
            click.echo(f"{name} serves; stop it with: ./resetbed down --name {name}")
            return 0
        time.sleep(0.02)
    sandbox.kill(name)
    click.echo(f"{name}: not up within {READY_DEADLINE_S:.0f} s", err=True)
    return 1


def launch_console(name: str, plan: Plan, options: Mapping[str, Any]) -> int:
    """Runs a cluster in the foreground; returns when the user leaves its console.

    Raises :class:`~experiments.machine.requirements.RequirementMissing`, or
    :class:`~topologies.datapaths.DatapathMissing`, before anything is built.
    """
    return _enter(name, _cluster_job("console", name, plan, options), detach=False)


def stop_cluster(name: str) -> None:
    """Stops a cluster: by request, otherwise by SIGKILL. Raises ``NotRunning``."""
    run = sandbox.find_run(name)
    try:
        control.request(run.directory / "control.sock", "down", timeout_s=5.0)
        run.init.wait(DOWN_DEADLINE_S)
    except (OSError, control.ControlError):
        pass  # it is still starting, or hangs: it is killed
    sandbox.kill(name)


def _require_packages(workload: str, policy: str) -> None:
    require_packages(WORKLOADS[workload])
    if POLICIES[policy].extra_packages:
        require_listed(policy, f"the policy {policy}")


def _cluster_job(
    kind: str, name: str, plan: Plan, options: Mapping[str, Any]
) -> dict[str, Any]:
    require(LinkOptions.from_json(options["links"]))
    _require_packages(options["workload"], options["policy"])
    find_datapath(options["datapath"])
    return {
        "job": kind,
        "plan": plan.to_json(),
        "options": {"name": name, **options},
    }


def _enter(name: str, job: Mapping[str, Any], *, detach: bool) -> int:
    """Enters a sandbox with that job; returns the job's exit status.

    Says so where a signal has ended it.
    """
    argv = [sys.executable, "-m", "experiments.running.sandbox_job", json.dumps(job)]
    status = sandbox.enter(argv, name, detach=detach)
    if status - _SIGNALLED in set(signal.Signals):
        name_of_signal = signal.Signals(status - _SIGNALLED).name
        text = f"{name_of_signal} ended this {job['job']}; nothing of it still runs"
        click.echo(f"resetbed: {text}", err=True)
    return status


def _answers(name: str) -> bool:
    try:
        control.request(sandbox.run_directory(name) / "control.sock", "ping", 5.0)
    except OSError:
        return False
    return True


class _LogFollower:
    """Prints new lines of a log file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = 0

    def show_new(self) -> None:
        """Prints to standard error what was added since the last call."""
        if not self._path.exists():
            return
        text = self._path.read_text(errors="replace")
        click.echo(text[self._shown :], nl=False, err=True)
        self._shown = len(text)
