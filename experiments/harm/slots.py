"""Servers with a limit of connections: what clients that have gone hold, and who is refused.

Pure, by two witnesses: the kernels' socket tables, and the clients' own reports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from nodes.clients.client_report import ClientReport, Event
from topologies.domain.connection import FourTuple


def slots(
    limit: int,
    reports: Mapping[str, ClientReport],
    instants_s: Sequence[float],
    end_s: float,
) -> dict[str, Any]:
    """What clients of servers with that ``limit`` met, until ``end_s``.

    ``instants_s``: when each instant of events was requested, in order.
    """
    refusals = sorted(refusal.t for refusal in refused(reports, end_s))
    first = None
    if refusals and instants_s:
        first = {
            "event": sum(at <= refusals[0] for at in instants_s),
            "after_s": round(refusals[0] - instants_s[0], 3),
        }
    return {
        "limit": limit,
        "first_refusal": first,
        "without_connection": sum(
            _without(report, end_s) for report in reports.values()
        ),
    }


def refused(reports: Mapping[str, ClientReport], end_s: float) -> list[Event]:
    """Attempts to open a connection that failed after all had been open."""
    found = []
    for report in reports.values():
        ready = report.of_kind("ready")
        since = ready[0].t if ready else end_s
        found += [one for one in report.of_kind("error") if since < one.t <= end_s]
    return found


def held_by_nobody(
    held: Mapping[FourTuple, Collection[str]],
    clients: Collection[FourTuple],
    refused: Collection[tuple[str, int]] = (),
) -> int:
    """Sockets of nodes whose client has none. ``held``: connection -> nodes.

    ``refused``: address and port of attempts to connect that failed. One that was under way
    when the tables were read is no session that anybody left.
    """
    return sum(
        len(nodes)
        for one, nodes in held.items()
        if one not in clients and (one.src, one.sport) not in refused
    )


def _without(report: ClientReport, end_s: float) -> int:
    """Clients' connections that broke, and were not open again at ``end_s``."""
    state: dict[int, bool] = {}
    for event in _until(report.events, end_s):
        if event.kind in ("reset", "closed"):
            state[event.conn] = True
        elif event.kind in ("reconnected", "reopened"):
            state[event.conn] = False
    return sum(state.values())


def _until(events: Iterable[Event], end_s: float) -> Iterable[Event]:
    return (event for event in events if event.t <= end_s)
