"""One run of a sweep in a process of its own: ``python -m experiments.sweep.worker``.

Its standard input is the spec as JSON, its argument the run's folder. A sandbox is
entered from the main thread of a process and carries that process's number.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.running.launch import run_in_sandbox
from experiments.spec.run_spec import RunSpec


def main(folder: str) -> int:
    """Makes the run; its exit status, as ``./resetbed run`` has it."""
    spec = RunSpec.model_validate_json(sys.stdin.read())
    status, _ = run_in_sandbox(spec, Path(folder))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
