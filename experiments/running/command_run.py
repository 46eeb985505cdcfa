"""One experiment through the command, from a program that is no command line itself.

A sandbox belongs to its process's main thread, and a run writes to standard error. So a
notebook has its runs in a process of their own. Who is not root has them by the launcher,
which becomes root through sudo(8), as on the command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from experiments.spec.run_spec import RunSpec

CHECKOUT = Path(__file__).parents[2]
#: What is told of a run that failed: its last lines.
_LAST_LINES = 12


class NeedsRoot(PermissionError):
    """We are not root, and cannot become it without a password. The text has remedies."""


class RunFailed(RuntimeError):
    """The run ended without results. The text has its exit status and its last lines."""


def run_by_command(spec: RunSpec, out: Path, say: Callable[[str], None]) -> None:
    """Runs the experiment into the folder ``out``, which is new or empty.

    ``say`` gets each line of progress. Returns when the folder has a summary, whatever its
    outcome. Raises :class:`NeedsRoot` before anything is built, and :class:`RunFailed`.
    """
    command = _command()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "spec.yaml"
        file.write_text(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False))
        with _running([*command, "run", str(file), "--out", str(out)]) as process:
            for line in process.stderr or ():
                last.append(line.rstrip())
                say(last[-1])
    if not (out / "summary.json").exists():
        raise RunFailed(
            f"the run ended with status {process.returncode}, without results in {out}:\n"
            + "\n".join(last)
        )


def _command() -> list[str]:
    """What to put before ``run``. Raises :class:`NeedsRoot`."""
    if os.geteuid() == 0:
        return [sys.executable, "-m", "experiments"]
    with suppress(FileNotFoundError):
        asked = ["sudo", "-n", "true"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return [str(CHECKOUT / "resetbed")]
    raise NeedsRoot(
        "a run builds network namespaces, for which it takes root, and sudo wants a "
        "password. Run it in a terminal, ./resetbed run SPEC --out DIR, and read it here "
        "with load(DIR); or start Jupyter as root: sudo .venv/bin/jupyter lab --allow-root"
    )


@contextmanager
def _running(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, which has ended afterwards, also if we are interrupted."""
    with subprocess.Popen(
        argv,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            yield process
        except BaseException:
            with suppress(PermissionError):  # sudo's; it ends with its terminal
                process.terminate()
            raise
