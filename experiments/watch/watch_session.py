"""What a watcher knows of one life of a cluster: seeded once, kept up from events."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.instruments.bpf_ring import records_of
from experiments.instruments.socket_reports import SocketReports, realtime_offset_ns
from experiments.record.socket_events import REPORT, SocketEvent, event_of
from experiments.watch.attachment import Attachment, Gone
from experiments.watch.connection_tally import ConnectionTally
from experiments.watch.log_words import log_line
from experiments.watch.rates import Rates
from experiments.watch.seen_resets import SeenResets
from experiments.watch.view import MAX_EVENTS, MAX_LOG, Seen, add_totals, view_of
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import Forecast, forecast

#: The cluster is asked at most so often, in seconds: while something changes, and at rest.
ASK_S = (0.25, 1.0)
#: So long after a change it counts as changing, in seconds.
CALM_AFTER_S = 3.0
#: Every host's socket table is compared with the tally once in that time, in seconds.
CHECK_S = 30.0
#: A file's time may be so much earlier than the clock: the kernel's tick, in seconds.
_TICK_S = 0.012


class Session:
    """One cluster, from the first answer to its end. Call :meth:`step` some times a second."""

    def __init__(self, attachment: Attachment, reports: SocketReports) -> None:
        """Raises :class:`~experiments.watch.attachment.Gone` if it does not answer yet."""
        self.reading = attachment.ask()
        found = attachment.new_state()
        if found is None:
            raise Gone("it has no state yet")
        self._attachment = attachment
        self._reports = reports
        self._lost = reports.lost
        self._offset_ns = realtime_offset_ns()
        self._state: ClusterState = found[0]
        self._routes: Forecast | None = None
        self._namespaces: dict[str, int] = {}
        self._clients: set[str] = set()
        self._names: dict[int, str] = {}
        self._to_check: deque[str] = deque()
        self._check_share = 0.0
        self._checked_s = time.monotonic()
        #: Sockets that a table showed otherwise than the events had told.
        self.corrected = 0
        self.answers = True
        self.resets = SeenResets(self._holders, self._owner_of)
        self._tally = ConnectionTally()
        self._rates = Rates()
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._log: deque[dict[str, Any]] = deque(maxlen=MAX_LOG)
        #: When a state was written -> connections that it moved.
        self._moved: deque[tuple[float, int | None]] = deque(maxlen=MAX_EVENTS)
        self._changed_s = time.monotonic()
        self._asked_s = self._changed_s
        self._route()
        self._take_hosts()
        self._take_log()

    def step(self) -> bool:
        """Takes in what has happened; returns whether a view may have changed."""
        now = time.monotonic()
        socket_change = self._take(self._unread())
        changed = [
            socket_change,
            self._take_state(),
            self._take_hosts(),
            self._check(now),
            self.resets.look(time.time_ns()),
        ]
        if any(changed):
            self._changed_s = now
        calm = now > self._changed_s + CALM_AFTER_S
        if now >= self._asked_s + ASK_S[calm]:
            changed.append(self._ask())
            self._asked_s = now
        return any([*changed, self._take_log()])

    def ended(self) -> bool:
        """Whether the cluster is gone."""
        return self._attachment.ended()

    def view(self) -> dict[str, Any]:
        """The view, without serial, time and cost."""
        view = view_of(self._seen())
        if not self.answers:
            view["message"] = f"{self.reading['name']} does not answer"
        return view

    def close(self) -> None:
        """Lets go of the cluster."""
        self._reports.drop_namespaces(self._namespaces.values())
        self._attachment.close()

    def _seen(self) -> Seen:
        return Seen(
            self._state,
            self.reading,
            self._tally,
            self._rates,
            self._namespaces.keys(),
            self.resets.of_client,
            self.resets.published(),
            self._events,
            self._log,
        )

    # ------------------------------------------------------------------- sockets

    def _unread(self) -> list[SocketEvent]:
        data = self._reports.unread()
        return [
            event_of(report, self._offset_ns, self._names)
            for report in records_of(data, REPORT)
        ]

    def _take(self, events: list[SocketEvent]) -> bool:
        changed = False
        for event in events:
            self.resets.apply(event)
            changed |= self._tally.apply(event)
        return changed

    def _holders(self, connection: FourTuple) -> list[str]:
        return list(self._tally.holders(connection))

    def _take_hosts(self) -> bool:
        """Follows hosts that have come, or have come again in another namespace."""
        found = self._attachment.new_namespaces()
        if found is None:
            return False
        plan = self._state.plan
        self._clients = {client.name for client in plan.clients}
        switches = plan.switches
        wanted = {host: inode for host, inode in found.items() if host not in switches}
        before, self._namespaces = self._namespaces, wanted
        self._names = {inode: host for host, inode in wanted.items()}
        gone = set(before.values()) - set(wanted.values())
        self._reports.drop_namespaces(gone)
        self._reports.select_namespaces(wanted.values())
        for host in before.keys() - wanted.keys():
            self._tally.forget(host)
        for host, inode in wanted.items():
            if before.get(host) != inode:
                self._seed(host)
        return True

    def _seed(self, host: str) -> None:
        """Its socket table in place of what was known. What the probes reported meanwhile
        is still to be read, in order, so the last word of each socket is theirs."""
        at_client = host in self._clients
        table = self._attachment.sockets(host, at_client)
        self._tally.replace(host, at_client, table or [])

    def _check(self, now: float) -> bool:
        """Compares some hosts' tables with the tally; all of them if reports were lost."""
        if self._reports.lost != self._lost:
            self._lost = self._reports.lost
            for host in self._namespaces:
                self._seed(host)
            return True
        self._check_share += (now - self._checked_s) * len(self._namespaces) / CHECK_S
        self._checked_s = now
        due = math.floor(min(self._check_share, len(self._namespaces)))
        self._check_share -= due
        corrected = self.corrected
        for _ in range(due):
            if not self._to_check:
                self._to_check.extend(self._namespaces)
                self._offset_ns = realtime_offset_ns()
            self._check_host(self._to_check.popleft())
        return self.corrected != corrected

    def _check_host(self, host: str) -> None:
        """Corrects what two looks at its table show alike, unless events tell more."""
        at_client = host in self._clients
        wrong: dict[FourTuple, str | None] = {}
        for look in range(2):
            self._take(self._unread())
            table = self._attachment.sockets(host, at_client)
            if table is None:
                return
            fresh = self._unread()
            touched = {event.connection for event in fresh}
            found = {
                one: state
                for one, state in self._tally.differences(
                    host, at_client, table
                ).items()
                if one not in touched
            }
            self._take(fresh)
            wrong = found if look == 0 else dict(wrong.items() & found.items())
            if not wrong:
                return
        for connection, state in wrong.items():
            self._tally.correct(host, at_client, connection, state)
        self.corrected += len(wrong)

    # -------------------------------------------------------------------- tables

    def _take_state(self) -> bool:
        found = self._attachment.new_state()
        if found is None:
            return False
        before, (self._state, written_s) = self._state, found
        moved = self._route()
        one_change = self._state.number == before.number + 1
        known = one_change and not self._state.policy.pins
        self._moved.append((written_s, moved if known else None))
        return True

    def _route(self) -> int:
        state = self._state
        self._routes = forecast(state.plan, state.membership, state.balancer)
        return self._tally.route(None if state.policy.pins else self._owner_of)

    def _owner_of(self, connection: FourTuple) -> str | None:
        with suppress(LookupError):  # from an address of no client
            return self._routes.owner_of(connection) if self._routes else None
        return None

    # --------------------------------------------------------- the cluster's word

    def _ask(self) -> bool:
        before, answered = self.reading, self.answers
        moving = (
            self._rates.moving()
        )  # then the view in which it ends is another one, too
        try:
            self.reading = self._attachment.ask()
            self.answers = True
        except Gone:
            self.answers = False
            return answered
        add_totals(self._seen(), time.time())
        if moving or self._rates.moving():
            return True
        quiet = ("cpu_s", "guards_s", "tier1_s")
        return any(
            self.reading[key] != before[key] for key in before if key not in quiet
        )

    def _take_log(self) -> bool:
        changed = False
        for record in self._attachment.new_records():
            changed = True
            self._log.append(log_line(record))
            if record["what"] == "switched":
                self._events.append(
                    {
                        "t": record["requested_s"],
                        "kind": record["kind"],
                        "target": record["target"],
                        "moved": self._moved_between(
                            record["requested_s"], record["applied_s"]
                        ),
                    }
                )
        return changed

    def _moved_between(self, from_s: float, to_s: float) -> int | None:
        """What the state that was written in that time has moved; None if none was seen."""
        for written_s, moved in self._moved:
            if from_s - _TICK_S <= written_s <= to_s:
                return moved
        return None
