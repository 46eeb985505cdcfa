"""``./resetbed lint``: what tools say of the code; one list for people, tests and CI.

Each check is one tool over all that it is for. Its settings are where the tool itself
and editors find them: ruff's in ``ruff.toml``, mypy's in ``setup.cfg``. None needs root,
a cluster or a network. Only clang may be missing, except in continuous integration
(``CI=true``): then its check is left out, and the output says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nodes.guard.verdict_header import HEADER, verdict_header
from nodes.kernel.bpf_build import compile_program
from nodes.kernel.libbpf import BpfError

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("topologies", "controller", "nodes", "experiments")
#: Folders of Python code.
FOLDERS = (*PACKAGES, "tests")
#: Where shell scripts may be; they have no suffix and say in line 1 what they are.
_SCRIPT_FOLDERS = (".", ".ci", "tests/kernel")


@dataclass(frozen=True)
class Check:
    """One tool over all that it is for.

    ``complaints``: what it finds, a line each; none where all is well. ``needs``: the
    program without which it is left out, "" where it comes with the tests' environment.
    """

    name: str
    complaints: Callable[[], list[str]]
    needs: str = ""

    @property
    def left_out(self) -> bool:
        """Whether its program is missing, and may be."""
        missing = bool(self.needs) and shutil.which(self.needs) is None
        return missing and os.environ.get("CI") != "true"


def shell_scripts() -> list[str]:
    """The project's shell scripts, by their path in the checkout."""
    found = (path for name in _SCRIPT_FOLDERS for path in CHECKOUT.glob(f"{name}/*"))
    return [
        str(path.relative_to(CHECKOUT)) for path in sorted(found) if _is_script(path)
    ]


def bpf_programs() -> list[Path]:
    """The sources of the BPF programs that the testbed compiles."""
    return sorted(
        path for name in FOLDERS for path in CHECKOUT.glob(f"{name}/**/*.bpf.c")
    )


def _is_script(path: Path) -> bool:
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.rstrip().endswith(b"sh")


def _ruff_check() -> list[str]:
    return _of_module(
        "ruff", "check", "--no-cache", "--output-format=concise", *FOLDERS
    )


def _ruff_format() -> list[str]:
    return _of_module("ruff", "format", "--no-cache", "--diff", "--quiet", *FOLDERS)


def _mypy() -> list[str]:
    return _of_module("mypy", "--no-error-summary", *FOLDERS)


def _shellcheck() -> list[str]:
    program = Path(sys.executable).with_name("shellcheck")
    return _output(str(program), "--format=gcc", *shell_scripts())


def _clang() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            line
            for source in bpf_programs()
            for line in _warnings(source, Path(folder))
        ]


def _warnings(source: Path, build: Path) -> Iterator[str]:
    try:
        compile_program(source, {HEADER: verdict_header()}, build)
    except BpfError as error:
        yield from str(error).splitlines()


#: The slowest first: they run side by side.
CHECKS = (
    Check("mypy", _mypy),
    Check("ruff check", _ruff_check),
    Check("ruff format", _ruff_format),
    Check("shellcheck", _shellcheck),
    Check("clang", _clang, needs="clang"),
)


def _of_module(tool: str, *arguments: str) -> list[str]:
    """What a tool of this interpreter's environment complains about."""
    return _output(sys.executable, "-m", tool, *arguments)


def _output(*command: str) -> list[str]:
    done = subprocess.run(
        command, check=False, cwd=CHECKOUT, capture_output=True, text=True
    )
    lines = (done.stdout + done.stderr).splitlines()
    return lines or ["failed without a word"] if done.returncode else []


def _timed(check: Check) -> tuple[list[str], float]:
    begun = time.monotonic()
    return check.complaints(), time.monotonic() - begun


def report(checks: Sequence[Check]) -> int:
    """Makes the checks, prints what each found, and returns the exit status."""
    status = 0
    made = [check for check in checks if not check.left_out]
    for check in checks:
        if check.left_out:
            print(f"{check.name:12} left out: {check.needs} is not installed")
    with ThreadPoolExecutor(len(made)) as side_by_side:
        for check, (found, took_s) in zip(
            made, side_by_side.map(_timed, made), strict=True
        ):
            print(f"{check.name:12} {'wrong' if found else 'ok':5} {took_s:5.1f} s")
            print("".join(f"    {line}\n" for line in found), end="", flush=True)
            status = 1 if found else status
    return status


if __name__ == "__main__":
    sys.exit(report(CHECKS))
