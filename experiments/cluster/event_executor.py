"""Takes a cluster from one state to the next: machines first, then the switches.

Events of one instant are one change: the switches go from the state before all of them
to the state after, and never have one in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from controller.pipeline.cluster_state import ClusterState
from controller.service.controller_client import (
    ApplyResult,
    ControllerClient,
    ControllerError,
)
from experiments.cluster.cluster_machines import ClusterMachines
from experiments.cluster.errors import ClusterError
from experiments.cluster.event_log import EventLog
from experiments.cluster.reset_moved import reset_moved
from experiments.record.event_record import EventRecord
from topologies.domain.events import EVENTS
from topologies.domain.events.instant import EventStep, machine_order, resolve_events

#: How often to try again with a controller that has died and is being replaced.
RETRY_PERIOD_S = 0.2
APPLY_DEADLINE_S = 20.0


class EventExecutor:
    """The state of one cluster, and how it changes. Callers hold the cluster's lock."""

    def __init__(
        self,
        initial: ClusterState,
        machines: ClusterMachines,
        controller: ControllerClient,
        file: Path,
        log: EventLog,
        restart_dead: Callable[[], None],
    ) -> None:
        """``file``: where the controller, started anew, finds the state. ``restart_dead`` starts
        again what has died, the controller for one."""
        self.state = initial
        self.records: list[EventRecord] = []
        #: Connections that nodes have reset at events, by the policy's wish.
        self.proactive_resets = 0
        self._machines = machines
        self._controller = controller
        self._file = file
        self._log = log
        self._restart_dead = restart_dead

    def write(self) -> None:
        """Leaves the state where the controller finds it."""
        self.state.write(self._file)

    def execute(self, events: Sequence[tuple[str, str]]) -> list[EventRecord]:
        """Makes events, each a kind and a target, happen at one instant.

        Returns when the switches have what follows. Raises
        :class:`~topologies.domain.events.EventError` or ``PlanError`` for an event that makes
        no sense, before anything is touched, and
        :class:`~experiments.cluster.errors.ClusterError` where something cannot be done
        to a machine: what was done to others is undone then, and the state stays.
        """
        old = self.state
        wanted = [(EVENTS[kind], target) for kind, target in events]
        found = resolve_events(old.arrangement, wanted)
        new = old.becoming(found[-1].new)
        requested = time.time()
        for kind, target in events:
            self._log.write("event", kind=kind, target=target)
        self._apply_to_machines(found)
        self.state = new
        self.write()
        done = self._apply()
        records = [_record(one, old, new, requested, done) for one in found]
        self.records += records
        for record in records:
            self._log.write("switched", **record.to_json())
        self._machines.limit_reconnect_backoff(
            new.plan.switches.keys() - old.plan.switches.keys()
        )
        if new.policy.resets_at_event:
            self._reset_moved()
        return records

    def _apply_to_machines(self, found: Iterable[EventStep]) -> None:
        """What happens to machines: all of it, or nothing."""
        try:
            with self._machines.transaction():
                for one in machine_order(found):
                    one.apply_to_machines(self._machines)
        except ClusterError as error:
            self._log.write("event failed", error=str(error))
            raise

    def _reset_moved(self) -> None:
        """Every node that can be told resets what the switches now send to another."""
        plan, membership = self.state.plan, self.state.membership
        nodes = (n for c in plan.chassis for n in membership.reachable_nodes(c))
        done = reset_moved(self.state, [self._machines.site(node) for node in nodes])
        self.proactive_resets += sum(done.values())
        self._log.write("reset moved connections", nodes=done)

    def _apply(self) -> ApplyResult:
        """Tells the switches of the state, through a controller that may die meanwhile.

        Raises ``ControllerError`` when they do not have it within the deadline.
        """
        deadline = time.monotonic() + APPLY_DEADLINE_S
        while True:
            try:
                return self._controller.apply(self.state)
            except ControllerError as error:
                if time.monotonic() > deadline:
                    raise
                self._log.write("apply failed", error=str(error))
                self._restart_dead()
                time.sleep(RETRY_PERIOD_S)


def _record(
    one: EventStep,
    old: ClusterState,
    new: ClusterState,
    requested_s: float,
    done: ApplyResult,
) -> EventRecord:
    return EventRecord(
        one.event.kind,
        one.target,
        requested_s,
        done.applied_s,
        done.settled_s,
        old,
        new,
    )
