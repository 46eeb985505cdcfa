"""The harm of a run: locks that nobody's client holds, and the waits for them; pure.

Two witnesses, neither of them this testbed's probes: the clients' own reports, and the
servers' own lists of sessions and locks (:mod:`nodes.servers.lock_log`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from experiments.analysis.statistics import Percentiles, percentiles
from experiments.harm.slots import refused
from nodes.clients.client_report import ClientReport
from nodes.servers.lock_log import LockSample

#: Events of a report after which the client's end of a connection is gone.
_ENDED = frozenset({"reset", "closed", "error"})


class Moment(NamedTuple):
    """One look at the locks: ``orphans`` are held by sessions whose client has gone,
    ``sessions`` are all such sessions, ``waiting`` clients wait for their own locks."""

    t: float
    orphans: int
    sessions: int
    waiting: int


def moments(
    reports: Mapping[str, ClientReport], samples: Iterable[LockSample]
) -> list[Moment]:
    """Each sample, with what its clients say. ``reports``: by client host."""
    ended = _ends(reports)
    waits = [w for report in reports.values() for w in own_locks(report, float("inf"))]
    return [
        Moment(
            sample.t,
            _gone(sample.holders, ended, sample.t),
            _gone(sample.sessions, ended, sample.t),
            sum(1 for wait in waits if wait.start_s <= sample.t < wait.end_s),
        )
        for sample in samples
    ]


def harm(
    reports: Mapping[str, ClientReport], samples: Iterable[LockSample], end_s: float
) -> dict[str, Any]:
    """The figures of ``summary.json`` under ``harm``, up to ``end_s``, the end of the
    observation: then the clients end, and their sessions."""
    seen = [one for one in moments(reports, samples) if one.t <= end_s]
    waits = [wait for report in reports.values() for wait in own_locks(report, end_s)]
    granted = [wait.ms for wait in waits if wait.granted]
    return {
        "locks_of_nobody": _over_time([(one.t, one.orphans) for one in seen]),
        "sessions_of_nobody": _over_time([(one.t, one.sessions) for one in seen]),
        "own_lock": {
            "asked": len(waits),
            "granted": len(granted),
            "still_waiting": len(waits) - len(granted),
            "wait_ms": _rounded(percentiles(granted)),
        },
        "refused_connections": len(refused(reports, end_s)),
        "looks": len(seen),
    }


def longest_gap_s(samples: Iterable[LockSample], start_s: float, end_s: float) -> float:
    """The longest time between ``start_s`` and ``end_s`` in which nobody looked."""
    looks = [one.t for one in samples if start_s < one.t < end_s]
    return max(b - a for a, b in pairwise([start_s, *looks, end_s]))


class Wait(NamedTuple):
    """The wait of a client that was cut off, for its own lock, in seconds since 1970.

    It was ``granted`` at ``end_s``, or the observation ended then.
    """

    start_s: float
    end_s: float
    granted: bool

    @property
    def ms(self) -> float:
        """How long it waited."""
        return (self.end_s - self.start_s) * 1e3


def own_locks(report: ClientReport, end_s: float) -> list[Wait]:
    """Each wait of a reconnected client for the lock that it had had.

    A client that is cut off again while it waits goes on waiting: its waits are one.
    """
    had: set[int] = set()
    began: dict[int, float] = {}
    found = []
    for event in report.events:
        if event.t > end_s:
            break
        if event.kind == "lock-asked" and event.conn in had:
            began.setdefault(event.conn, event.t)
        elif event.kind == "lock-granted":
            had.add(event.conn)
            if event.conn in began:
                found.append(Wait(began.pop(event.conn), event.t, True))
    return found + [Wait(since, end_s, False) for since in began.values()]


def _ends(reports: Mapping[str, ClientReport]) -> dict[str, float]:
    """When each connection's client end had gone: ``HOST:PORT`` -> seconds.

    A port that is used again counts from its last end.
    """
    return {
        f"{host}:{event.port}": event.t
        for host, report in reports.items()
        for event in report.events
        if event.kind in _ENDED and event.fields.get("port") is not None
    }


def _gone(names: Collection[str], ended: Mapping[str, float], t: float) -> int:
    return sum(1 for name in names if ended.get(name, t) < t)


def _over_time(points: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Most at one time, at the last look, and the sum over time in seconds."""
    return {
        "peak": max((count for _, count in points), default=0),
        "at_end": points[-1][1] if points else 0,
        "held_s": round(
            sum((b[0] - a[0]) * a[1] for a, b in pairwise(points)),
            3,
        ),
    }


def _rounded(figures: Percentiles) -> dict[str, float | None]:
    """To the microsecond."""
    return {
        key: None if value is None else round(value, 3)
        for key, value in figures._asdict().items()
    }
