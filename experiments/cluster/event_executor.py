"""Executes events: first on the machines, then on the switches.

Events at the same instant are one change. The switches go from the state before all of
them to the state after all of them, without a state in between. Where nothing changes for
them (links alone are shaped), they are not asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from controller.pipeline.cluster_state import ClusterState
from controller.policies.questions import AtEvent
from controller.service.controller_client import (
    ApplyResult,
    ControllerClient,
    ControllerError,
)
from experiments.cluster.cluster_machines import ClusterMachines
from experiments.cluster.errors import ClusterError
from experiments.cluster.event_log import EventLog
from experiments.cluster.reset_moved import kill_moved, reset_moved
from experiments.record.event_record import EventRecord
from topologies.domain.events import Event
from topologies.domain.events.instant import EventStep, machine_order, resolve_events

#: Pause before a retry, and how often programs that have died are looked for.
RETRY_PERIOD_S = 0.2
APPLY_DEADLINE_S = 20.0


class EventExecutor:
    """Holds and changes the state of one cluster. Callers hold the cluster's lock."""

    def __init__(
        self,
        initial: ClusterState,
        machines: ClusterMachines,
        controller: ControllerClient,
        file: Path,
        log: EventLog,
        restart_dead: Callable[[], None],
    ) -> None:
        """``file``: where a restarted controller finds the state.

        ``restart_dead`` restarts programs that have died, e.g. the controller.
        """
        self.state = initial
        self.records: list[EventRecord] = []
        #: Connections that nodes reset at events (policies ``proactive`` and ``ctdb``).
        self.proactive_resets = 0
        self._machines = machines
        self._controller = controller
        self._file = file
        self._log = log
        self._restart_dead = restart_dead

    def write(self) -> None:
        """Writes the state to the file that the controller reads when it starts."""
        self.state.write(self._file)

    def execute(self, events: Sequence[tuple[Event, str]]) -> list[EventRecord]:
        """Executes events, each with its target, at one instant.

        Returns when the switches have the new state. Raises
        :class:`~topologies.domain.events.EventError` or ``PlanError`` for an event that is
        not possible, before anything is changed, and
        :class:`~experiments.cluster.errors.ClusterError` if an action on a
        machine fails. All actions are undone then, and the state stays.
        """
        old = self.state
        steps = resolve_events(old.arrangement, events)
        new = old.after(steps[-1].new)
        requested = time.time()
        for event, target in events:
            shaped = event.link.to_json() if event.link else {}
            self._log.write("event", kind=event.kind, target=target, **shaped)
        self._apply_to_machines(steps)
        shaped_s = time.time()
        done = None if new is old else self._switch(new)
        times = (done.applied_s, done.settled_s) if done else (shaped_s, None)
        records = [
            EventRecord(
                *(step.event.kind, step.target, requested, *times, old, new),
                link=step.event.link,
            )
            for step in steps
        ]
        self.records += records
        for record in records:
            self._log.write("switched", **record.to_json())
        self._machines.limit_reconnect_backoff(
            new.plan.switches.keys() - old.plan.switches.keys()
        )
        if done and new.policy.at_event is not AtEvent.NOBODY:
            self._reset_moved()
        return records

    def _switch(self, new: ClusterState) -> ApplyResult:
        """Gives the switches that state, and a restarted controller too."""
        self.state = new
        self.write()
        return self._apply()

    def _apply_to_machines(self, steps: Iterable[EventStep]) -> None:
        """Performs the actions of all steps on the machines, or undoes all of them."""
        try:
            with self._machines.transaction():
                for step in machine_order(steps):
                    step.apply_to_machines(self._machines)
        except ClusterError as error:
            self._log.write("event failed", error=str(error))
            raise

    def _reset_moved(self) -> None:
        """Resets, at every reachable node, connections that the switches now send elsewhere."""
        plan, membership = self.state.plan, self.state.membership
        nodes = (n for c in plan.chassis for n in membership.reachable_nodes(c))
        by_ctdb = self.state.policy.at_event is AtEvent.KILLTCP
        reset = kill_moved if by_ctdb else reset_moved
        done = reset(self.state, [self._machines.site(node) for node in nodes])
        self.proactive_resets += sum(done.values())
        self._log.write("reset moved connections", nodes=done)

    def _apply(self) -> ApplyResult:
        """Applies the state to the switches, also if the controller dies meanwhile.

        Raises ``ControllerError`` if they do not have it within the deadline.
        """
        deadline = time.monotonic() + APPLY_DEADLINE_S
        while True:
            try:
                return self._attempt()
            except ControllerError as error:
                if time.monotonic() > deadline:
                    raise
                self._log.write("apply failed", error=str(error))
                time.sleep(RETRY_PERIOD_S)

    def _attempt(self) -> ApplyResult:
        """One attempt. What dies meanwhile is restarted here: the supervisor waits for
        the lock, and the controller for the switch whose daemon has died."""
        with ThreadPoolExecutor(1) as pool:
            attempt = pool.submit(self._controller.apply, self.state)
            while attempt in wait([attempt], RETRY_PERIOD_S).not_done:
                self._restart_dead()
            self._restart_dead()
            return attempt.result()
