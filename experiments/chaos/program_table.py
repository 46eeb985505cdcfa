"""The programs of a cluster by name, and whether each runs, by the kernel's word."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from controller.service.controller_client import ControllerClient, ControllerError
from experiments.cluster.live_cluster import Cluster
from nodes.guard.scapy_processes import ScapyGuard
from topologies.switches import OVSDB, VSWITCHD

#: The controller may be stopped: it is not waited for.
_STATUS_S = 0.2


class ProgramTable:
    """What should run now. Names are those of :class:`~.chaos_actions.Action`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._controller = ControllerClient(cluster.runtime / "controller.sock")
        #: Switch -> its ovs-vswitchd when its tables were last known to be whole.
        self._whole: dict[str, int] = {}

    def pids(self) -> dict[str, int]:
        """Name -> process id, also of programs that have just ended."""
        cluster = self._cluster
        found = {
            name: int(getattr(one.process, "pid", 0))
            for name, one in list(cluster.processes.running.items())
        }
        for switch in cluster.live_switches():
            for daemon in (OVSDB, VSWITCHD):
                with suppress(KeyError):
                    process = cluster.network.switch(switch).daemon(daemon)
                    found[f"{daemon} {switch}"] = process.pid
        if isinstance(cluster.guard, ScapyGuard):
            for node in cluster.live_nodes():
                with suppress(KeyError):
                    found[f"guard {node.name}"] = cluster.guard.process_of(node.name)
        return found

    def idle(self) -> tuple[frozenset[str], frozenset[str]]:
        """Programs that do not work now, and those of them that have ended.

        Of a switch whose ovs-vswitchd was started again, ``tables c1`` is idle until the
        controller has filled them.
        """
        idle, ended = set(), set()
        pids = self.pids()
        for name, pid in pids.items():
            state = _state(pid)
            if state in ("", "Z", "X"):
                ended.add(name)
            if state in ("", "Z", "X", "T") or not _has_socket(pid):
                idle.add(name)
        return frozenset(idle | self._empty_tables(pids)), frozenset(ended)

    def memory_kib(self) -> dict[str, int]:
        """Name -> resident memory of each program and of the process that calls."""
        pids = {**self.pids(), "chaos": os.getpid()}
        found = {name: _resident_kib(pid) for name, pid in pids.items()}
        return {name: kib for name, kib in found.items() if kib}

    def _empty_tables(self, pids: dict[str, int]) -> set[str]:
        daemons = {
            name.partition(" ")[2]: pid
            for name, pid in pids.items()
            if name.startswith(VSWITCHD)
        }
        unsure = {s for s, pid in daemons.items() if self._whole.get(s) != pid}
        if unsure:
            with suppress(ControllerError):
                for switch, status in self._controller.status(_STATUS_S).items():
                    if switch in unsure and status.in_sync:
                        self._whole[switch] = daemons[switch]
                        unsure.discard(switch)
        return {f"tables {switch}" for switch in unsure}


def _state(pid: int) -> str:
    """The state of a process (proc(5)); empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


def _has_socket(pid: int) -> bool:
    """Whether a process has opened a socket: each of these programs does, when ready."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    if os.readlink(entry.path).startswith("socket:"):
                        return True
    except OSError:
        pass  # it has just ended
    return False


def _resident_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
