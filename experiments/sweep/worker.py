"""Executes one run of a sweep as a process: ``python -m experiments.sweep.worker FOLDER``.

Standard input is the spec as JSON. A run needs its own process, since a sandbox is entered
from the main thread of a process and named after its process id.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.running.launch import run_in_sandbox
from experiments.spec.run_spec import RunSpec


def main(folder: str) -> int:
    """Executes the run; returns the exit status of ``./resetbed run``."""
    spec = RunSpec.model_validate_json(sys.stdin.read())
    status, _ = run_in_sandbox(spec, Path(folder))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
