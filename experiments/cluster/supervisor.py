"""Restarts programs, guards and switch daemons that have died."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from experiments.cluster.event_log import EventLog
from experiments.cluster.faults import Faults
from experiments.cluster.supervised_processes import SupervisedProcesses
from nodes.guard.guard import Guard

#: How often it checks for dead programs, in seconds.
PERIOD_S = 0.2
#: Share of one core for checking that the guards are still attached.
GUARD_CHECK_SHARE = 0.02


class Daemons(Protocol):
    """The interface of a switch's daemons (:class:`topologies.switches.IsolatedSwitch`)."""

    def dead_daemons(self) -> list[str]:
        """Names of daemons that have died."""

    def alive(self) -> bool:
        """Whether both daemons run."""

    def restart(self) -> None:
        """Starts the daemons that do not run."""


#: The switches that have power, by name.
Switches = Callable[[], Sequence[tuple[str, Daemons]]]


class Supervisor:
    """The supervising thread of a cluster. A failed check does not stop the others."""

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
        """Idle until :meth:`start`. ``nodes`` returns the number of nodes with power.

        ``lock`` protects the machines.
        """
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
        """Starts supervising."""
        self._thread.start()

    def stop(self) -> None:
        """Stops supervising. May be called before :meth:`start`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def restart_dead(self) -> None:
        """Checks everything once. The caller holds the lock. Raises nothing."""
        for supervised in self._processes.dead():
            with self._faults.recorded(f"{supervised.name} could not be restarted"):
                self._processes.restart(supervised)
                self._log.write("restarted", program=supervised.name)
        with self._faults.recorded("guards could not be checked"):
            self._check_guards()
        with self._faults.recorded("switches could not be checked"):
            for name, switch in self._switches():
                with self._faults.recorded(f"switch {name} could not be restarted"):
                    self._check_switch(name, switch)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            with self._faults.recorded("the supervisor"), self._lock:
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
