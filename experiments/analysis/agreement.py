"""Two instruments on the same sockets: the kernels' tables and the probes' events: pure.

At the end of the observation the tables of all kernels are read; the probes, which saw
every socket come and go, must know of the same ones. The tables are read one after the
other, which takes a while: a connection of which a socket came or went during that time
may be in one and not in the other, and is not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from experiments.analysis.fates import Fate
from experiments.analysis.socket_states import SocketLife
from topologies.domain.connection import FourTuple, format_connection

#: Where a client's socket is, as against the node that a server's is on.
CLIENT = "its client"

#: One socket: its connection, and where it is.
Place = tuple[FourTuple, str]


@dataclass(frozen=True)
class Agreement:
    """Sockets that were compared, and those that only one instrument knows of.

    ``half_open`` are the half-open connections by the tables, with their nodes: no
    client has the other end, or the hash leads elsewhere. ``half_open_not_agreed``:
    those that are half open by the tables or by the events, but not by both.
    """

    compared: int
    only_in_tables: frozenset[Place]
    only_in_events: frozenset[Place]
    half_open: frozenset[Place]
    half_open_not_agreed: frozenset[Place]

    @property
    def not_agreed(self) -> int:
        """How many sockets only one of them knows of."""
        return len(self.only_in_tables) + len(self.only_in_events)

    def told(self) -> list[str]:
        """Each disagreement in words."""
        return [
            *_told(self.only_in_tables, "in the socket tables, not by the events"),
            *_told(self.only_in_events, "by the events, not in the socket tables"),
            *_told(self.half_open_not_agreed, "half open by one of the two only"),
        ]


def by_events(
    lives: Iterable[SocketLife], end_ns: int, powered: Collection[str]
) -> frozenset[Place]:
    """Sockets that were established and not yet freed at ``end_ns``, of clients and of
    nodes in ``powered``."""
    return frozenset(
        (life.connection, place)
        for life in lives
        if _held(life, end_ns)
        and ((place := _place(life)) == CLIENT or place in powered)
    )


def in_flux(
    lives: Iterable[SocketLife], from_ns: int, until_ns: int
) -> frozenset[FourTuple]:
    """Connections of which a socket came or went in that time."""
    return frozenset(
        life.connection
        for life in lives
        if any(
            time_ns is not None and from_ns <= time_ns <= until_ns
            for time_ns in (life.opened_ns, life.established_ns, life.closed_ns)
        )
    )


def agreement(
    tables: frozenset[Place],
    events: frozenset[Place],
    half_open: frozenset[Place],
    fates: Iterable[Fate],
    flux: frozenset[FourTuple],
) -> Agreement:
    """Tables and events, the connections in ``flux`` aside.

    ``half_open``: those by the tables. By the events half open is what is held in vain.
    """
    left, right = _still(tables, flux), _still(events, flux)
    in_vain = frozenset((f.connection, f.home or "") for f in fates if f.held_in_vain)
    by_tables = _still(half_open, flux)
    return Agreement(
        compared=len(left | right),
        only_in_tables=left - right,
        only_in_events=right - left,
        half_open=by_tables,
        half_open_not_agreed=by_tables ^ _still(in_vain, flux),
    )


def _held(life: SocketLife, end_ns: int) -> bool:
    begun = life.established_ns is not None and life.established_ns < end_ns
    return begun and (life.closed_ns is None or life.closed_ns >= end_ns)


def _place(life: SocketLife) -> str:
    return CLIENT if life.at_client else life.host or ""


def _still(places: frozenset[Place], flux: frozenset[FourTuple]) -> frozenset[Place]:
    return frozenset(place for place in places if place[0] not in flux)


def _told(places: Iterable[Place], how: str) -> list[str]:
    return sorted(
        f"{format_connection(one)} at {place}: {how}" for one, place in places
    )
