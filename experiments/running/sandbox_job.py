"""What runs inside a sandbox: ``python -m experiments.running.sandbox_job JOB``, the job as JSON.

The command line outside makes a job, enters a sandbox with this module as its command,
and either waits for its exit status (``run``, ``console``) or talks to it through its
control socket (``up``).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.cluster import control
from experiments.cluster.errors import ClusterError
from experiments.cluster.live_cluster import Cluster, ClusterOptions
from experiments.cluster.status import status
from experiments.instruments.instruments import InstrumentError
from experiments.running.run import RunError, run_experiment
from experiments.spec.run_spec import RunSpec
from experiments.verdict.trust import EXIT_STATUS
from nodes.guard.guards import GuardError
from nodes.kernel.libbpf import BpfError
from topologies import sandbox
from topologies.domain.events import parse_events
from topologies.domain.plan import Plan
from topologies.private import UMASK
from topologies.runs import RUN_VARIABLE
from topologies.scripts import ScriptError
from topologies.shaping import LinkOptions
from topologies.switches import SwitchDaemonError


def main(text: str) -> int:
    """Does the job that the JSON text describes; returns its exit status."""
    job = json.loads(text)
    os.umask(UMASK)
    try:
        return JOBS[job.pop("job")](**job)
    except (BpfError, GuardError) as error:
        print_progress(f"resetbed: {error}; ./resetbed doctor tells what is missing")
        return 3
    except (
        ClusterError,
        InstrumentError,
        RunError,
        ScriptError,
        SwitchDaemonError,
    ) as error:
        print_progress(f"resetbed: {error}")
        return 1


def job_run(spec: dict[str, Any], out: str) -> int:
    """One experiment, into the folder ``out``; the exit status says what it came to."""
    folder = Path(out)
    summary = run_experiment(
        RunSpec.model_validate(spec), folder, runtime(), print_progress
    )
    return EXIT_STATUS[summary["outcome"]]


def job_up(plan: dict[str, Any], options: dict[str, Any]) -> int:
    """A cluster that serves until it is told to go down."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    cluster = make_cluster(plan, options)
    try:
        cluster.start(print_progress)
        control.serve(runtime() / "control.sock", operations(cluster, stop))
        stop.wait()
    finally:
        cluster.stop()
    return 0


def job_console(plan: dict[str, Any], options: dict[str, Any]) -> int:
    """A cluster in the foreground, with Mininet's command line on it."""
    from experiments.running.console import Console

    stop = threading.Event()
    cluster = make_cluster(plan, options)
    try:
        cluster.start(print_progress)
        control.serve(runtime() / "control.sock", operations(cluster, stop))
        Console(cluster)
    finally:
        cluster.stop()
    return 0


def operations(cluster: Cluster, stop: threading.Event) -> dict[str, control.Operation]:
    """What the control socket of a cluster answers."""

    def events(words: list[str]) -> dict[str, Any]:
        records = cluster.events(parse_events(words))
        return {"events": [record.to_json() for record in records]}

    def down() -> dict[str, Any]:
        stop.set()
        return {}

    return {
        "ping": dict,
        "status": lambda: {"status": status(cluster)},
        "events": events,
        "down": down,
    }


def make_cluster(plan: dict[str, Any], options: dict[str, Any]) -> Cluster:
    """The cluster of a job, not yet started; its logs go to the run's directory."""
    folder = runtime() / "cluster"
    folder.mkdir()
    links = LinkOptions.from_json(options.pop("links"))
    chosen = ClusterOptions(**options, links=links)
    return Cluster(Plan.from_json(plan), chosen, folder, runtime())


def runtime() -> Path:
    """The directory of this sandbox's run, for sockets."""
    return sandbox.run_directory(os.environ[RUN_VARIABLE])


def print_progress(text: str) -> None:
    """One line of progress for whoever waits."""
    print(text, file=sys.stderr, flush=True)


JOBS: dict[str, Callable[..., int]] = {
    "run": job_run,
    "up": job_up,
    "console": job_console,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
