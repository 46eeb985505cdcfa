"""Starts again whatever died unasked: programs, guards, switch daemons."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from experiments.cluster.event_log import EventLog
from experiments.cluster.faults import Faults
from experiments.cluster.supervised_processes import SupervisedProcesses
from nodes.guard.guard import Guard

#: How often it looks for programs that died unasked, in seconds.
PERIOD_S = 0.2
#: What of a core may go into looking whether guards are still in place.
GUARD_CHECK_SHARE = 0.02


class Daemons(Protocol):
    """What it needs of a switch (:class:`topologies.switches.IsolatedSwitch`)."""

    def dead_daemons(self) -> list[str]:
        """Those that have run and died."""

    def alive(self) -> bool:
        """Whether both run."""

    def restart(self) -> None:
        """Start those that do not."""


#: The switches that have power, by name.
Switches = Callable[[], Sequence[tuple[str, Daemons]]]


class Supervisor:
    """A thread of one cluster's. What fails is noted; all else is looked after still."""

    def __init__(
        self,
        processes: SupervisedProcesses,
        guard: Guard,
        nodes: Callable[[], int],
        switches: Switches,
        lock: threading.RLock,
        log: EventLog,
        faults: Faults,
    ) -> None:
        """It begins with :meth:`start`. ``nodes``: how many have power. ``lock``: of
        whoever touches machines."""
        self._processes = processes
        self._guard = guard
        self._nodes = nodes
        self._switches = switches
        self._lock = lock
        self._log = log
        self._faults = faults
        self._next_guard_check = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Look after the cluster from now on."""
        self._thread.start()

    def stop(self) -> None:
        """No longer; it may not have begun."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def restart_dead(self) -> None:
        """One look at everything; the caller holds the lock. Raises nothing."""
        for supervised in self._processes.dead():
            with self._faults.noted(f"{supervised.name} is not started again"):
                self._processes.restart(supervised)
                self._log.write("restarted", program=supervised.name)
        with self._faults.noted("guards are not checked"):
            self._check_guards()
        with self._faults.noted("switches are not checked"):
            for name, switch in self._switches():
                with self._faults.noted(f"switch {name} is not started again"):
                    self._check_switch(name, switch)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            with self._faults.noted("the supervisor"), self._lock:
                self.restart_dead()

    def _check_guards(self) -> None:
        if time.monotonic() < self._next_guard_check:
            return
        cost = self._guard.check_cost_s * self._nodes()
        self._next_guard_check = time.monotonic() + cost / GUARD_CHECK_SHARE
        for name in self._guard.check():
            self._log.write("restarted", program=f"guard of {name}")

    def _check_switch(self, name: str, switch: Daemons) -> None:
        for daemon in switch.dead_daemons():
            self._log.write("restarted", program=f"{daemon} of {name}")
        if not switch.alive():
            switch.restart()
