"""The program inside a sandbox: ``python -m experiments.running.sandbox_job JOB``.

``JOB`` is a JSON object. The command line writes it and enters a sandbox with this module
as the program. Then it waits for the exit status (``run``, ``console``) or uses the
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
from experiments.cluster.live_view import LiveView
from experiments.cluster.status import status
from experiments.files.disk_full import DiskFullError, disk_full_named
from experiments.instruments.instruments import InstrumentError
from experiments.running.run import RunError, run_experiment
from experiments.spec.run_spec import RunSpec
from experiments.verdict.trust import EXIT_STATUS
from nodes.guard.guards import GuardError
from nodes.kernel.libbpf import BpfError
from nodes.servers.postgres_server import DatabaseError
from nodes.servers.server_settings import ServerSettings
from topologies import sandbox
from topologies.domain.events import parse_events
from topologies.domain.link_options import LinkOptions
from topologies.domain.plan import Plan
from topologies.private import UMASK
from topologies.runs import RUN_VARIABLE
from topologies.scripts import ScriptError
from topologies.switches import SwitchDaemonError


def main(text: str) -> int:
    """Runs the job in the JSON text; returns its exit status."""
    job = json.loads(text)
    os.umask(UMASK)
    try:
        return JOBS[job.pop("job")](**job)
    except (BpfError, GuardError) as error:
        print_progress(f"resetbed: {error}; see ./resetbed doctor")
        return 3
    except (
        ClusterError,
        DatabaseError,
        DiskFullError,
        InstrumentError,
        RunError,
        ScriptError,
        SwitchDaemonError,
    ) as error:
        print_progress(f"resetbed: {error}")
        return 1


def job_run(spec: dict[str, Any], out: str) -> int:
    """Runs one experiment into the folder ``out``; returns the status of its outcome."""
    folder = Path(out)
    model = RunSpec.model_validate(spec)
    with disk_full_named(folder):
        summary = run_experiment(model, folder, runtime(), print_progress)
    return EXIT_STATUS[summary["outcome"]]


def job_up(plan: dict[str, Any], options: dict[str, Any]) -> int:
    """Runs a cluster until it is stopped by request or by SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    cluster = make_cluster(plan, options)
    view = LiveView(cluster)
    try:
        cluster.start(print_progress)
        control.serve(runtime() / "control.sock", operations(cluster, view, stop))
        stop.wait()
    finally:
        view.freeze()
        cluster.stop()
    return 0


def job_console(plan: dict[str, Any], options: dict[str, Any]) -> int:
    """Runs a cluster in the foreground, with Mininet's command line."""
    from experiments.running.console import Console

    stop = threading.Event()
    cluster = make_cluster(plan, options)
    view = LiveView(cluster)
    try:
        cluster.start(print_progress)
        control.serve(runtime() / "control.sock", operations(cluster, view, stop))
        Console(cluster)
    finally:
        view.freeze()
        cluster.stop()
    return 0


def operations(
    cluster: Cluster, view: LiveView, stop: threading.Event
) -> dict[str, control.Operation]:
    """The operations of a cluster's control socket, by name."""

    def events(words: list[str]) -> dict[str, Any]:
        records = cluster.events(parse_events(words))
        return {"events": [record.to_json() for record in records]}

    def link(hosts: list[str], options: dict[str, Any]) -> dict[str, Any]:
        cluster.shape(hosts, LinkOptions.from_json(options))
        return {}

    def down() -> dict[str, Any]:
        stop.set()
        return {}

    return {
        "ping": dict,
        "status": lambda: {"status": status(cluster)},
        "view": view.read,
        "events": events,
        "link": link,
        "down": down,
    }


def make_cluster(plan: dict[str, Any], options: dict[str, Any]) -> Cluster:
    """The cluster of a job, not yet started. Its logs go to the run's directory."""
    folder = runtime() / "cluster"
    folder.mkdir()
    links = LinkOptions.from_json(options.pop("links"))
    servers = ServerSettings(**options.pop("servers"))
    cluster_options = ClusterOptions(**options, links=links, servers=servers)
    return Cluster(Plan.from_json(plan), cluster_options, folder, runtime())


def runtime() -> Path:
    """The directory of this sandbox's run, for its sockets."""
    return sandbox.run_directory(os.environ[RUN_VARIABLE])


def print_progress(text: str) -> None:
    """Prints one line of progress to standard error."""
    print(text, file=sys.stderr, flush=True)


JOBS: dict[str, Callable[..., int]] = {
    "run": job_run,
    "up": job_up,
    "console": job_console,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
