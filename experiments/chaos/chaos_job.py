"""The program inside the sandbox: ``python -m experiments.chaos.chaos_job JOB``.

``JOB`` is a JSON object: ``schedule`` (a file), ``seed``, ``plan``, ``options``,
``folder``. The result is ``folder/found.json``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from experiments.chaos.chaos_actions import read_schedule
from experiments.chaos.chaos_run import ChaosError, run_chaos
from experiments.cluster.errors import ClusterError
from experiments.cluster.live_cluster import ClusterOptions
from experiments.running.sandbox_job import print_progress, runtime
from experiments.verdict.trust import EXIT_STATUS
from nodes.guard.guards import GuardError
from nodes.kernel.libbpf import BpfError
from topologies.domain.plan import Plan
from topologies.private import UMASK
from topologies.scripts import ScriptError
from topologies.switches import SwitchDaemonError

#: What a run leaves for the launcher.
FOUND = "found.json"


def main(text: str) -> int:
    """Runs the job in the JSON text; returns its exit status."""
    job = json.loads(text)
    os.umask(UMASK)
    signal.signal(signal.SIGTERM, _stop)
    folder = Path(job["folder"])
    try:
        summary = run_chaos(
            read_schedule(Path(job["schedule"])),
            Plan.from_json(job["plan"]),
            ClusterOptions(name=runtime().name, **job["options"]),
            job["seed"],
            (folder, runtime()),
            print_progress,
        )
    except (BpfError, GuardError) as error:
        print_progress(f"resetbed: {error}; see ./resetbed doctor")
        return 3
    except (ChaosError, ClusterError, ScriptError, SwitchDaemonError) as error:
        print_progress(f"resetbed: {error}")
        return 1
    (folder / FOUND).write_text(summary.model_dump_json(indent=1) + "\n")
    return EXIT_STATUS[summary.outcome]


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
