"""What a watcher asks a cluster for, at a small and measured cost.

No socket tables, no processes, and hardly any waiting for the cluster's lock: a
watcher sees connections by itself (:mod:`experiments.watch`). All watchers share what was
read last.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from experiments.cluster.errors import ClusterError
from experiments.cluster.flow_count import count_packets
from experiments.cluster.live_cluster import Cluster
from topologies.domain.plan import FANOUT_MAC

#: The controller is asked at most so often, in seconds: while a switch is not in sync, and
#: otherwise.
_SWITCHES_S = (0.25, 1.0)
#: Guards' counters are read at most so often, in seconds.
_GUARDS_S = 0.2
#: So long a reading waits for the cluster's lock, in seconds. An event holds it; then the
#: counters of before are told.
_LOCK_S = 0.02
#: Between two counts of tier-1 copies: at least so long, in seconds, and so long that they
#: take no more than this share of one core.
_COPIES_S, _COPIES_SHARE = 0.5, 0.02
#: Open vSwitch brings its flows' counters up to date twice a second ("revalidator"), later
#: if it is busy: after so many seconds they are sure to be.
_SETTLED_S = 2.5
#: So long a switch may take for its answer, in seconds.
_ANSWER_S = 0.5


class LiveView:
    """The operation ``view`` of a cluster's control socket.

    ``message``: what a run does now, in words; None for a cluster that runs until ``down``.
    """

    def __init__(self, cluster: Cluster, message: str | None = None) -> None:
        self.message = message
        self._cluster = cluster
        self._lock = threading.Lock()
        self._reply: dict[str, Any] | None = None
        self._frozen = False
        self._cpu_s = 0.0
        self._switches: dict[str, Any] = {}
        self._switches_due_s = 0.0
        self._guards: dict[str, dict[str, int]] = {}
        self._guards_s = 0.0
        self._tier1: dict[str, int | None] = {}
        self._tier1_s = 0.0
        self._tier1_due_s = 0.0
        self._counted_s = 0.0
        self._seen = -1
        self._seen_s = 0.0

    def read(self) -> dict[str, Any]:
        """One JSON object.

        ``switches``: name -> whether it is connected and in sync. ``guards``: node -> its
        guard's counters since the start, without nodes of which all are 0. ``tier1``:
        chassis -> copies that have arrived, None if its switch did not answer. ``guards_s``,
        ``tier1_s``: when these were read, CLOCK_REALTIME. ``cpu_s``: CPU time of all
        readings so far, of the cluster and of its controller.
        """
        with self._lock:
            if self._frozen:
                if self._reply is None:
                    raise ValueError("the cluster is going down")
                return {**self._reply, "message": self.message}
            if self._reply is None:
                self._cluster.log.write("watched")
            begun = time.thread_time()
            self._read_switches()
            self._read_guards()
            self._count_tier1()
            self._cpu_s += time.thread_time() - begun
            self._reply = self._composed()
            return self._reply

    def freeze(self) -> None:
        """From now on the last reading is told: the cluster is going down."""
        with self._lock:
            self._frozen = True

    def _composed(self) -> dict[str, Any]:
        cluster = self._cluster
        return {
            "name": cluster.options.name,
            "workload": cluster.workload.name,
            "guard": cluster.guard.name,
            "datapath": cluster.datapath.type,
            "folder": str(cluster.folder),
            "message": self.message,
            "switches": self._switches,
            "guards": self._guards,
            "guards_s": self._guards_s,
            "tier1": self._tier1,
            "tier1_s": self._tier1_s,
            "proactive_resets": cluster.proactive_resets,
            "faults": cluster.faults,
            "cpu_s": self._cpu_s,
        }

    def _read_switches(self) -> None:
        now = time.monotonic()
        if now < self._switches_due_s:
            return
        before = self._controllers_cpu_s()
        status = self._cluster.switch_status()
        self._cpu_s += max(0.0, self._controllers_cpu_s() - before)
        self._switches = {
            name: {"connected": one.connected, "in_sync": one.in_sync}
            for name, one in status.items()
        }
        calm = all(one.in_sync for one in status.values())
        self._switches_due_s = now + _SWITCHES_S[calm]

    def _controllers_cpu_s(self) -> float:
        """CPU time of the controller so far; 0 while it is down.

        The clock's number is that of clock_getcpuclockid(3) for a process.
        """
        controller = self._cluster.processes.running.get("controller")
        pid = getattr(controller and controller.process, "pid", None)
        if pid is not None:
            with suppress(OSError):
                return time.clock_gettime(~pid << 3 | 2)
        return 0.0

    def _read_guards(self) -> None:
        cluster = self._cluster
        if time.time() < self._guards_s + _GUARDS_S:
            return
        if not cluster.lock.acquire(timeout=_LOCK_S):
            return
        try:
            counters = cluster.counters_of_nodes()
            self._guards_s = time.time()
        finally:
            cluster.lock.release()
        guards: dict[str, dict[str, int]] = {}
        for node, one in counters:
            found = {
                "strays": one.strays,
                "resets": one.resets,
                "copies": one.copies_received,
            }
            if any(found.values()):
                sums = guards.setdefault(node, dict.fromkeys(found, 0))
                for key, value in found.items():
                    sums[key] += value
        self._guards = guards

    def _count_tier1(self) -> None:
        """Asks the switches, once, and then after guards have seen resets, until it is sure
        that the answer is about all of them."""
        begun = time.monotonic()
        seen = sum(one["copies"] + one["resets"] for one in self._guards.values())
        if seen != self._seen:
            self._seen, self._seen_s = seen, begun
        if self._counted_s >= self._seen_s + _SETTLED_S:
            self._tier1_s = self._guards_s  # no guard has seen a copy since
            return
        if begun < self._tier1_due_s:
            return
        state, cpu_s = self._cluster.state, time.thread_time()
        found: dict[str, int | None] = {}
        for chassis in state.plan.chassis:
            if chassis.name not in state.membership.failed_chassis:
                found[chassis.name] = None
                with suppress(ClusterError):
                    found[chassis.name] = count_packets(
                        chassis.name, FANOUT_MAC, _ANSWER_S
                    )
        self._tier1, self._tier1_s, self._counted_s = found, time.time(), begun
        spent_s = time.thread_time() - cpu_s
        self._tier1_due_s = begun + max(_COPIES_S, spent_s / _COPIES_SHARE)
