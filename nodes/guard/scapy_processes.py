"""The reference guard on many nodes: one ``nodes.guard.guard_scapy`` process for each."""

from __future__ import annotations

import contextlib
import importlib.util
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.guard.guard import GuardCounters, GuardError, GuardSettings
from nodes.guard.nftables_rules import install_rules, remove_rules
from nodes.guard.shared_state import SharedState
from topologies.domain.site import Site

#: Generous, because many processes import scapy at the same time on few cores.
_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 5.0
#: How often the start of a process is tried that is killed while it starts.
_START_ATTEMPTS = 3


@dataclass
class _GuardProcess:
    """A guarded site: its shared state, and its current process."""

    site: Site
    shared: SharedState
    process: subprocess.Popen[str]


class ScapyGuard:
    """A process per node; see :class:`~nodes.guard.guard.Guard` for the methods.

    ``workdir`` holds a small file for each node (:mod:`nodes.guard.shared_state`).
    """

    name = "scapy"
    check_cost_s = 0.0001

    def __init__(self, workdir: Path, nodes: int = 1) -> None:
        """Starts nothing yet. ``nodes`` is not used: each node's process has a memory of
        its own, of fixed size."""
        self._workdir = workdir
        self._guards: dict[str, _GuardProcess] = {}

    def attach(self, sites: Sequence[Site], settings: GuardSettings) -> None:
        """Start a guard process on every site in parallel, and wait for all."""
        for guard in self._guards.values():
            guard.shared.settings = settings
        fresh = [self._start_guard(site, settings) for site in sites]
        for guard in fresh:
            self._await_ready(guard)

    def detach(self, name: str) -> None:
        """Stop the guard process of that node and remove its packet filter rules."""
        guard = self._guards.pop(name)
        _stop(guard.process)
        if Path(f"/proc/{guard.site.pid}/ns/net").exists():
            remove_rules(_enter(guard.site))

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, from the shared state."""
        return {name: guard.shared.counters() for name, guard in self._guards.items()}

    def check(self) -> list[str]:
        """Restart the processes that have died. Their counters continue."""
        dead = [
            guard for guard in self._guards.values() if guard.process.poll() is not None
        ]
        for guard in dead:
            _stop(guard.process)
            guard.process = self._start(guard.site)
        for guard in dead:
            self._await_ready(guard)
        return [guard.site.name for guard in dead]

    def close(self) -> None:
        """Detach from every node."""
        for guard in self._guards.values():
            guard.process.terminate()  # in parallel; detach() waits for each
        for name in list(self._guards):
            self.detach(name)

    def process_of(self, name: str) -> int:
        """The id of the process that guards the node of that name."""
        return self._guards[name].process.pid

    def _start_guard(self, site: Site, settings: GuardSettings) -> _GuardProcess:
        if site.name in self._guards:
            self.detach(site.name)
        shared = SharedState(self._state_path(site))
        shared.clear()
        shared.settings = settings
        guard = _GuardProcess(site, shared, self._start(site))
        self._guards[site.name] = guard
        return guard

    def _await_ready(self, guard: _GuardProcess) -> None:
        """Wait until it handles segments. If it is killed meanwhile, start it again."""
        for left in reversed(range(_START_ATTEMPTS)):
            if _is_ready(guard):
                return
            status = guard.process.wait()
            if status >= 0 or not left:  # it ended by itself, or again
                raise GuardError(
                    f"guard of {guard.site.name} did not start: status {status}"
                )
            _stop(guard.process)
            guard.process = self._start(guard.site)

    def _start(self, site: Site) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "nodes.guard.guard_scapy"]
        options = ["--interface", site.interface, "--mac", site.mac]
        shared = ["--shared-state", str(self._state_path(site))]
        return subprocess.Popen(
            [*_enter(site), *program, *options, *shared],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )

    def _state_path(self, site: Site) -> Path:
        return self._workdir / f"guard-{site.name}"


def missing_requirement() -> str | None:
    """The requirement of the reference guard that is missing here; None if none is."""
    missing = [tool for tool in ("nft", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if importlib.util.find_spec("scapy") is None:
        return "the Python package scapy is not installed"
    try:
        install_rules("lo", ["unshare", "--net"])
    except GuardError as error:
        return str(error)
    return None


def _enter(site: Site) -> list[str]:
    return ["nsenter", f"--net=/proc/{site.pid}/ns/net"]


def _is_ready(guard: _GuardProcess) -> bool:
    """Wait for the line that the process prints once it handles segments; False if it has
    ended instead.

    Raises :class:`GuardError` at the deadline.
    """
    assert guard.process.stdout
    readable, _, _ = select.select([guard.process.stdout], [], [], _START_DEADLINE_S)
    if not readable:
        guard.process.kill()
        guard.process.wait()
        raise GuardError(
            f"guard of {guard.site.name} did not start in {_START_DEADLINE_S:g} s"
        )
    return bool(guard.process.stdout.readline())


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_DEADLINE_S)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()
