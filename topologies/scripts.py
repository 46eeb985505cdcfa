"""Runs shell scripts in many network namespaces in parallel.

Mininet types one command after the other into each host's shell. With hundreds of hosts
that dominates the start-up time. One script for each host, several in parallel, is thirty
times faster (and a script has an exit status).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: Number of parallel scripts; more would only wait for the kernel's locks.
WORKERS = min(8, 2 * (os.cpu_count() or 1))


class ScriptError(RuntimeError):
    """A script failed; the message has the host's name and the script's errors."""


def run_script(node: Any, script: str) -> str:
    """Run ``script`` (sh) in a Mininet node's namespaces; its standard output.

    It ends at its first failing command. Raises :class:`ScriptError`.
    """
    done = subprocess.run(
        ["mnexec", "-a", str(node.pid), "sh", "-euc", script],
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ScriptError(f"{node.name}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def run_scripts(scripts: Mapping[Any, str]) -> None:
    """Run each Mininet node's script, in parallel. Raises :class:`ScriptError`."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run_script, scripts, scripts.values()))
