"""The parts of a sandbox, to check that none is left when it has ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from topologies.processes import Process
from topologies.runs import Run

KINDS = ("net", "mnt", "pid", "ipc", "uts")


@dataclass(frozen=True)
class Traces:
    """Processes and namespaces of one sandbox."""

    processes: frozenset[Process]
    namespaces: frozenset[str]

    @classmethod
    def of(cls, run: Run) -> Traces:
        """Every process in the sandbox's pid namespace, and its namespaces."""
        pid_namespace = os.readlink(f"/proc/{run.init.pid}/ns/pid")
        members = {
            pid for pid in all_pids() if pid_namespace in namespaces_of(pid, ["pid"])
        }
        used = {each for pid in members for each in namespaces_of(pid, KINDS)}
        return cls(
            frozenset(Process.of(pid) for pid in (*members, run.outer.pid)),
            frozenset(used - namespaces_of(os.getpid(), KINDS)),
        )

    def left(self) -> set[Process | str]:
        """The processes and namespaces that still exist."""
        in_use = {each for pid in all_pids() for each in namespaces_of(pid, KINDS)}
        alive = {each for each in self.processes if each.alive()}
        return alive | (self.namespaces & in_use)


def machine() -> tuple[str, str]:
    """The machine's own interfaces and mounts."""
    links = subprocess.run(
        ["ip", "-o", "link"], capture_output=True, text=True, check=True
    )
    names = " ".join(line.split(": ")[1] for line in links.stdout.splitlines())
    return names, Path("/proc/self/mounts").read_text()


def all_pids() -> Iterator[int]:
    """The pids of all processes."""
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def namespaces_of(pid: int, kinds: list[str] | tuple[str, ...]) -> set[str]:
    """The namespaces of a process, of these kinds; empty if it has ended."""
    found = set()
    for kind in kinds:
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found
