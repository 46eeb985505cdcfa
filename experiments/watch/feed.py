"""The views of a cluster as they change, whether it runs, is gone, or comes back."""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from experiments.instruments.socket_reports import SocketReports
from experiments.watch.attachment import Attachment, Gone
from experiments.watch.seen_resets import SeenReset
from experiments.watch.view import ABSENT, STARTING, without_cluster
from experiments.watch.watch_session import Session
from topologies.runs import NotRunning

#: How often is looked, in seconds, and the least time between two views.
STEP_S = 0.1
VIEW_S = 0.25
#: How often a cluster that is gone is looked for, in seconds.
ATTACH_S = 0.3
#: The cost is that of the last so many seconds.
COST_S = 10.0
#: Of these a change makes no new view.
_QUIET = ("serial", "t", "cost")


@dataclass(frozen=True)
class WatchEnding:
    """When watching ends: ``woken`` becomes readable, nobody reads ``reader`` any more, or
    after ``count`` views or ``for_s`` seconds."""

    woken: int
    reader: int | None = None
    count: int | None = None
    for_s: float | None = None


class Feed:
    """The views of the cluster or run of that name. Used by one thread, but for
    :meth:`find_reset`."""

    def __init__(self, name: str, remedy: str) -> None:
        """``remedy``: how such a cluster is started. Raises
        :class:`~nodes.kernel.libbpf.BpfError` or :class:`OSError` if it cannot watch."""
        self.name = name
        self._remedy = remedy
        self._reports = SocketReports()
        self._reports.enable()
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._next_attach_s = 0.0
        self._without = without_cluster(ABSENT, "")
        self._shown: dict[str, Any] = {}
        self._shown_s = 0.0
        self._changed = True
        self._serial = 0
        self._costs: deque[tuple[float, float, float]] = deque()

    def run(
        self, show: Callable[[dict[str, Any]], object], ending: WatchEnding
    ) -> None:
        """Calls ``show`` for each view until ``ending``."""
        ends = select.poll()
        ends.register(ending.woken, select.POLLIN)
        if ending.reader is not None:
            ends.register(ending.reader, 0)  # tells of its end without being asked
        deadline = time.monotonic() + (ending.for_s or float("inf"))
        left = ending.count
        while left != 0 and time.monotonic() < deadline:
            view = self.step()
            if view is not None:
                show(view)
                left = left and left - 1
            if left != 0 and ends.poll(1000 * STEP_S):
                return

    def step(self) -> dict[str, Any] | None:
        """Looks once; returns a view if there is another one than before."""
        self._follow()
        session = self._session
        if session is not None:
            self._changed |= session.step()
            self._note_cost(session.reading["cpu_s"])
        now = time.monotonic()
        if not self._changed or now < self._shown_s + VIEW_S:
            return None
        self._changed = False
        with self._lock:
            view = session.view() if session else dict(self._without)
        if _loud(view) == _loud(self._shown):
            return None
        self._shown_s = now
        self._serial += 1
        if session is not None:
            view["cost"] = self._cost()
        self._shown = {"serial": self._serial, "t": round(time.time(), 3), **view}
        return self._shown

    def find_reset(self, serial: int) -> SeenReset | None:
        """The reset that a view had as its ``latest_reset``; None if it is gone."""
        with self._lock:
            return self._session.resets.find(serial) if self._session else None

    def close(self) -> None:
        """Lets go of everything."""
        self._leave()
        self._reports.close()

    def _follow(self) -> None:
        """Notices the end of a cluster and the beginning of the next one."""
        if self._session is not None and self._session.ended():
            self._leave()
        now = time.monotonic()
        if self._session is not None or now < self._next_attach_s:
            return
        self._next_attach_s = now + ATTACH_S
        before = self._without
        try:
            attachment = Attachment(self.name)
        except NotRunning as error:
            text = f"{error}. Start it with: {self._remedy}"
            self._without = without_cluster(ABSENT, text)
        else:
            self._enter(attachment)
        self._changed |= self._session is not None or before != self._without

    def _enter(self, attachment: Attachment) -> None:
        try:
            session = Session(attachment, self._reports)
        except Gone:
            attachment.close()
            self._without = without_cluster(STARTING, f"{self.name} starts")
            return
        with self._lock:
            self._session = session

    def _leave(self) -> None:
        if self._session is None:
            return
        with self._lock:
            session, self._session = self._session, None
        session.close()
        self._costs.clear()
        self._next_attach_s = 0.0

    def _note_cost(self, cluster_s: float) -> None:
        now = time.monotonic()
        if self._costs and now < self._costs[-1][0] + 1.0:
            return
        self._costs.append((now, time.process_time(), cluster_s))
        while len(self._costs) > 2 and self._costs[1][0] <= now - COST_S:
            self._costs.popleft()

    def _cost(self) -> dict[str, Any]:
        """CPU time, in percent of one core; None before a second has passed."""
        if len(self._costs) < 2:
            return dict.fromkeys(
                ("cluster_core_percent", "watch_core_percent", "over_s")
            )
        (first, watch, cluster), (last, *ends) = self._costs[0], self._costs[-1]
        over_s = last - first
        return {
            "cluster_core_percent": round(100 * (ends[1] - cluster) / over_s, 2),
            "watch_core_percent": round(100 * (ends[0] - watch) / over_s, 2),
            "over_s": round(over_s, 1),
        }


def _loud(view: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in view.items() if key not in _QUIET}
