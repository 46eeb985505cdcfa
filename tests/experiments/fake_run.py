"""Stands for a run of a sweep: as long as ``steady_s``, and as expected.

It holds a child that dies with it, as a run holds its sandbox.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.experiments.run_folders import connection, write_run


def main(folder: str) -> int:
    """Reads the spec from standard input; returns the exit status of a run."""
    spec = json.load(sys.stdin)
    seconds = spec["steady_s"]
    sandbox = ("setpriv", "--pdeathsig", "KILL", "--", "sleep", "1000")
    with subprocess.Popen(sandbox, cwd="/") as child:
        time.sleep(seconds)
        child.kill()
    write_run(Path(folder), spec["policy"], [connection(1, "c2n1")])
    print(f"seed {spec['seed']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
