"""Compares the kernels' socket tables with the probes' socket events: pure.

At the end of the observation the socket tables of all kernels are read. The probes saw
every socket open and close, so by their events the same sockets must exist. The tables
are read one after the other, which takes time. A connection with a socket that opened or
closed during that time may be in one source only, so it is not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from experiments.analysis.outcomes import Outcome
from experiments.analysis.socket_states import SocketLifetime
from topologies.domain.connection import FourTuple, format_connection

#: The place of a client's socket; that of a server's socket is the node's name.
CLIENT = "its client"

#: One socket: its connection, and its place.
Place = tuple[FourTuple, str]


@dataclass(frozen=True)
class Agreement:
    """How many sockets were compared, and those that only one instrument has.

    ``half_open``: the half-open connections by the tables, with their nodes: no client
    has the other end, or the hash sends the segments to another node.
    ``half_open_not_agreed``: half open by only one of tables and events.
    """

    compared: int
    only_in_tables: frozenset[Place]
    only_in_events: frozenset[Place]
    half_open: frozenset[Place]
    half_open_not_agreed: frozenset[Place]

    @property
    def not_agreed(self) -> int:
        """How many sockets only one of the two has."""
        return len(self.only_in_tables) + len(self.only_in_events)

    def descriptions(self) -> list[str]:
        """A line of text for each disagreement."""
        return [
            *_described(self.only_in_tables, "in the socket tables, not by the events"),
            *_described(self.only_in_events, "by the events, not in the socket tables"),
            *_described(self.half_open_not_agreed, "half open by one of the two only"),
        ]


def sockets_by_events(
    lifetimes: Iterable[SocketLifetime], end_ns: int, powered: Collection[str]
) -> frozenset[Place]:
    """Sockets of clients and of nodes in ``powered`` that were established and not yet
    freed at ``end_ns``."""
    return frozenset(
        (lifetime.connection, place)
        for lifetime in lifetimes
        if _held(lifetime, end_ns)
        and ((place := _place(lifetime)) == CLIENT or place in powered)
    )


def sockets_in_flux(
    lifetimes: Iterable[SocketLifetime], from_ns: int, until_ns: int
) -> frozenset[FourTuple]:
    """Connections with a socket that opened or closed in that time."""
    return frozenset(
        lifetime.connection
        for lifetime in lifetimes
        if any(
            time_ns is not None and from_ns <= time_ns <= until_ns
            for time_ns in (
                lifetime.opened_ns,
                lifetime.established_ns,
                lifetime.closed_ns,
            )
        )
    )


def agreement(
    tables: frozenset[Place],
    events: frozenset[Place],
    half_open: frozenset[Place],
    outcomes: Iterable[Outcome],
    flux: frozenset[FourTuple],
) -> Agreement:
    """Compares tables with events, without the connections in ``flux``.

    ``half_open``: those by the tables. By the events, a connection is half open if it is
    stale at the end (:mod:`experiments.analysis.outcomes`). Of a late one they know only
    what came before its stray, so it may be half open by the tables alone (``stateful``,
    whose switches forgot it a moment ago).
    """
    left, right = _without(tables, flux), _without(events, flux)
    outcomes = tuple(outcomes)
    undecided = flux | {f.connection for f in outcomes if f.late and not f.stale_at_end}
    stale = frozenset((f.connection, f.owner or "") for f in outcomes if f.stale_at_end)
    by_tables = _without(half_open, undecided)
    return Agreement(
        compared=len(left | right),
        only_in_tables=left - right,
        only_in_events=right - left,
        half_open=by_tables,
        half_open_not_agreed=by_tables ^ _without(stale, undecided),
    )


def _held(lifetime: SocketLifetime, end_ns: int) -> bool:
    established = (
        lifetime.established_ns is not None and lifetime.established_ns < end_ns
    )
    return established and (lifetime.closed_ns is None or lifetime.closed_ns >= end_ns)


def _place(lifetime: SocketLifetime) -> str:
    return CLIENT if lifetime.at_client else lifetime.host or ""


def _without(places: frozenset[Place], flux: frozenset[FourTuple]) -> frozenset[Place]:
    return frozenset(place for place in places if place[0] not in flux)


def _described(places: Iterable[Place], how: str) -> list[str]:
    return sorted(
        f"{format_connection(connection)} at {place}: {how}"
        for connection, place in places
    )
