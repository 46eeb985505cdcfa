"""The commands of the testbed, called as a user's script calls them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.sandbox import find_run

ROOT = Path(__file__).resolve().parents[2]
#: Exit status of a run that cannot be trusted.
UNTRUSTED = 4
#: An emulated machine is some 15 times slower.
DEADLINE_S = 600.0 if "RESETBED_KERNEL" in os.environ else 120.0


def resetbed(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "experiments", *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",  # nbdinfo shows what is in the first block
        timeout=DEADLINE_S,
        check=False,
    )


def must(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that had to succeed."""
    assert done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}"
    return done.stdout


def measured(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One ``run`` into that folder, made again where its measurement cannot be trusted.

    (Exit status 4: the machine was too busy to see everything. That is no property of the
    design; what is expected of the run that can be trusted is not loosened.)
    """
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        done = resetbed("run", *arguments, "--out", str(folder))
        if done.returncode != UNTRUSTED:
            break
    return done


def eventually(what: str, look: Callable[[], Any], deadline_s: float = 20.0) -> Any:
    """The first true value of ``look``; fails with what it saw last."""
    deadline = time.monotonic() + deadline_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not {what} in {deadline_s} s: {seen!r}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Background:
    """A cluster that ``up`` keeps running under ``name``."""

    name: str

    @classmethod
    def up(cls, name: str, *options: str) -> Background:
        """Brings one up."""
        must(resetbed("up", "--name", name, *options))
        return cls(name)

    def down(self) -> None:
        """Takes it away; it may be gone already."""
        resetbed("down", "--name", self.name)

    def execute(
        self, host: str, *command: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command on one of its hosts."""
        return resetbed("exec", "--name", self.name, host, "--", *command, stdin=stdin)

    def python(self, host: str, code: str) -> str:
        """What a Python program prints on one of its hosts."""
        return must(self.execute(host, sys.executable, "-", stdin=code))

    def event(self, *words: str) -> str:
        """A membership event, or several at once: kind, target, kind, target, ..."""
        return must(resetbed("event", "--name", self.name, *words))

    def status(self) -> dict[str, Any]:
        """The object of ``status --json``."""
        text = must(resetbed("status", "--name", self.name, "--json"))
        status: dict[str, Any] = json.loads(text)
        return status

    def established(self) -> dict[str, int]:
        """Node -> established connections, nodes with none left out."""
        return {
            name: node["established"]
            for name, node in self.status()["nodes"].items()
            if node["established"]
        }

    def copies(self) -> tuple[int, int]:
        """Fan-out copies since it came up, of tier 1 and tier 2."""
        counters = self.status()["counters"]
        return counters["tier1_copies"], counters["tier2_copies"]


def processes_with(text: str) -> Sequence[int]:
    """Processes whose command line holds ``text``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in line:
                found.append(int(entry.name))
    return found


def processes_inside(run: str, text: str) -> list[int]:
    """Those of them that are in the sandbox of that run: their ids outside."""
    sandbox = os.stat(f"/proc/{find_run(run).init.pid}/ns/pid").st_ino
    found = []
    for pid in processes_with(text):
        with suppress(OSError):  # it has just ended
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == sandbox:
                found.append(pid)
    return found
