"""From what the instruments saw to what became of every connection, and the claim."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from controller.policies.questions import OnStray, Travel
from experiments.analysis.agreement import (
    CLIENT,
    Agreement,
    Place,
    agreement,
    by_events,
    in_flux,
)
from experiments.analysis.arrivals import Arrivals, arrivals
from experiments.analysis.claim import ORDER, Case, ClaimChart, ClaimRow, cases_of
from experiments.analysis.client_wire import ClientWire
from experiments.analysis.epochs import IN_FLIGHT_NS, Epoch, History
from experiments.analysis.fates import (
    Fate,
    Totals,
    connection_fates,
    is_stray_candidate,
    totals,
)
from experiments.analysis.observations import (
    Observation,
    is_answer,
    read_observations,
)
from experiments.analysis.socket_states import SocketLife, socket_lives
from experiments.analysis.trails import Places, Trail, reset_trails
from experiments.analysis.waiting import Waiting, waiting_unmoved
from experiments.record.event_record import one_each_instant
from experiments.record.run_record import RunRecord, Snapshots
from experiments.record.socket_events import read_socket_events
from topologies.domain.connection import format_connection
from topologies.domain.plan import SECOND_CHANCE_MAC


@dataclass(frozen=True)
class Analysis:
    """What became of a run's connections, and whether the claim was seen.

    ``moved_connections``: as people write them, sorted: the same for the same seed.
    ``mispredicted``: connections that, before the first event, were not on the node
    that the hash foretells, or on none; ``arrivals``: the same for every captured
    segment of a client, all through the run. ``half_open_count``: connections that were
    half open for some time, those of ``at_end`` included. ``agreement``: the kernels'
    socket tables at the end, held against the socket events. ``opened_by_kernel``: of
    the connections that clients had opened when they were ready, those of which the
    probes saw the client's socket established. ``begun_unseen``: sockets of which the
    probes saw something, and not the beginning, though they were there before it. ``waiting``:
    how long unmoved connections waited for answers; None where nothing was captured.
    """

    totals: Totals
    claim: Sequence[ClaimRow]
    order: ClaimRow | None
    moved_connections: list[str]
    connections: list[dict[str, Any]]
    mispredicted: int
    arrivals: Arrivals
    agreement: Agreement
    opened_by_kernel: int
    begun_unseen: int
    half_open_count: int
    #: What the claim chart looked at: moved connections that spoke, with their resets.
    cases: Sequence[Case]
    waiting: Waiting | None


def analyse(record: RunRecord) -> Analysis:
    """The whole analysis of one run."""
    with _no_collection():
        return _analyse(record)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for cycles: there are none among millions of records, and
    looking for them again and again takes a quarter of the analysis."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _analyse(record: RunRecord) -> Analysis:
    history = history_of(record)
    places = Places.of(record.final.plan)
    wire = ClientWire()
    observations = _observations(record, places, wire)
    lives = _lives(record)
    fates = _fates(record, history, places, observations, lives)
    trails = reset_trails(observations or (), places)
    rows = _claim(record, history, places, fates, trails)
    return Analysis(
        totals=totals(fates),
        claim=[row for row in rows if row.element != ORDER],
        order=next((row for row in rows if row.element == ORDER), None),
        moved_connections=sorted(
            {format_connection(f.connection) for f in fates if f.moved}
        ),
        connections=[_row(fate) for fate in fates],
        mispredicted=_mispredicted(record, history, fates),
        arrivals=_arrivals(record, history, places, observations),
        agreement=_agreement(record, history, lives, fates),
        opened_by_kernel=_opened_by_kernel(record, fates),
        begun_unseen=sum(life.opened_ns is None for life in lives),
        half_open_count=sum(fate.half_open is not None for fate in fates),
        cases=_cases(record, fates, trails),
        waiting=_waiting(record, fates, wire),
    )


def _observations(
    record: RunRecord, places: Places, wire: ClientWire
) -> list[Observation] | None:
    """What was captured until the end of the observation; None: nothing was.

    Requests and answers at clients' ports go to ``wire`` alone.
    """
    if record.capture_file is None:
        return None
    takers = dict.fromkeys(places.client_ports, wire.take)
    path = str(record.capture_file)
    return list(read_observations(path, record.end_ns, takers))


def _waiting(
    record: RunRecord, fates: Sequence[Fate], wire: ClientWire
) -> Waiting | None:
    if record.capture_file is None:
        return None
    requested = sorted(round(event.requested_s * 1e9) for event in record.events)
    steady_ns = round(record.snapshots.steady_s * 1e9)
    return waiting_unmoved(fates, wire.dialogues(), requested, steady_ns)


def _fates(
    record: RunRecord,
    history: History,
    places: Places,
    observations: Sequence[Observation] | None,
    lives: Sequence[SocketLife],
) -> list[Fate]:
    preserves_moved = record.initial.policy.preserves_moved
    if observations is None:
        return connection_fates(
            lives, history, None, record.end_ns, preserves_moved=preserves_moved
        )
    nodes = frozenset(places.nodes)
    strays = [one for one in observations if is_stray_candidate(one, nodes)]
    if record.initial.policy.on_stray is OnStray.REDIRECT:
        # The first node's ignorance is part of the design; the second's is final.
        strays = [one for one in strays if one.eth_src == SECOND_CHANCE_MAC]
    answers = [one for one in observations if is_answer(one, nodes)]
    return connection_fates(
        lives, history, strays, record.end_ns, answers, preserves_moved
    )


def _lives(record: RunRecord) -> list[SocketLife]:
    """Every socket of the cluster's hosts: the probes know whose namespace is whose."""
    return socket_lives(read_socket_events(str(record.sockets_file)))


def _claim(
    record: RunRecord,
    history: History,
    places: Places,
    fates: Sequence[Fate],
    trails: Sequence[Trail],
) -> list[ClaimRow]:
    if record.capture_file is None:
        return [
            ClaimRow(f"E{n}", False, "nothing was captured (capture: off)", 0, 0)
            for n in range(1, 6)
        ]
    spares = record.initial.policy.travel is Travel.TO_OTHERS
    chart = ClaimChart(history, places, spares)
    return chart.rows(fates, trails, record.end_ns)


def _row(fate: Fate) -> dict[str, Any]:
    """One line of ``connections.jsonl``; instants in CLOCK_REALTIME s."""
    stray = fate.first_stray
    return {
        "connection": format_connection(fate.connection),
        "owner": fate.home,
        "moved": fate.moved,
        "new_owner": fate.moved_to,
        "hung": fate.hung,
        "opened_s": fate.opened_ns / 1e9,
        "moved_s": _seconds(fate.moved_ns),
        "first_stray_s": _seconds(stray.time_ns if stray else None),
        "first_stray_at": stray.label if stray else None,
        "reset_s": _seconds(fate.reset_ns),
        "owner_freed_s": _seconds(fate.freed_ns),
        "owner_out_of_reach": fate.home_out_of_reach,
        "half_open_s": fate.half_open and [_seconds(ns) for ns in fate.half_open],
        "half_open_at_end": fate.half_open_at_end,
        "reset_latency_ms": fate.latency_ms,
    }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9


def _mispredicted(record: RunRecord, history: History, fates: Sequence[Fate]) -> int:
    """Connections that the first look found elsewhere than foretold, or nowhere."""
    owner_of, snapshots = history.epochs[0].owner_of, record.snapshots
    wrong = {
        connection
        for connection, nodes in snapshots.held_before.items()
        if nodes != [owner_of(connection)]
    }
    look_ns = round(snapshots.first_look_s * 1e9)
    opened = {
        fate.connection
        for fate in fates
        if fate.opened_ns < look_ns - IN_FLIGHT_NS
        and (fate.ended_ns or record.end_ns) > look_ns + IN_FLIGHT_NS
    }
    return len(wrong | (opened - snapshots.held_before.keys()))


def _arrivals(
    record: RunRecord,
    history: History,
    places: Places,
    observations: Sequence[Observation] | None,
) -> Arrivals:
    """Segments held against the hash; none where it is not the hash that decides."""
    if observations is None or record.initial.policy.preserves_moved:
        return Arrivals(0, frozenset())
    return arrivals(observations, history, frozenset(places.nodes))


def _agreement(
    record: RunRecord,
    history: History,
    lives: Sequence[SocketLife],
    fates: Sequence[Fate],
) -> Agreement:
    """The socket tables of the end held against the socket events."""
    snapshots, last = record.snapshots, history.epochs[-1]
    powered = {n.name for n in record.final.plan.nodes if last.powers(n.name)}
    clients = {(connection, CLIENT) for connection in snapshots.clients_after}
    return agreement(
        _held_by_tables(snapshots) | clients,
        by_events(lives, record.end_ns, powered),
        _half_open_by_tables(record, history),
        fates,
        in_flux(lives, round(snapshots.last_look_s * 1e9), record.end_ns),
    )


def _held_by_tables(snapshots: Snapshots) -> frozenset[Place]:
    return frozenset(
        (connection, node)
        for connection, nodes in snapshots.held_after.items()
        for node in nodes
    )


def _half_open_by_tables(record: RunRecord, history: History) -> frozenset[Place]:
    snapshots, owner_of = record.snapshots, history.epochs[-1].owner_of
    stays = record.initial.policy.preserves_moved
    return frozenset(
        (connection, node)
        for connection, node in _held_by_tables(snapshots)
        if connection not in snapshots.clients_after
        or not (stays or node == owner_of(connection))
    )


def _opened_by_kernel(record: RunRecord, fates: Sequence[Fate]) -> int:
    """How many of the connections with which clients were ready the kernels tell of."""
    ready = {
        (address, port)
        for client in record.final.plan.clients
        if (report := record.reports.get(client.name))
        for address in (client.ipv4, client.ipv6)
        for port in report.ports
    }
    return len(ready & {(f.connection.src, f.connection.sport) for f in fates})


def _cases(
    record: RunRecord, fates: Sequence[Fate], trails: Sequence[Trail]
) -> Sequence[Case]:
    """What began before the end of the observation."""
    return cases_of(fates, [one for one in trails if one.first_ns < record.end_ns])


def history_of(record: RunRecord) -> History:
    """The cluster's states and their times."""
    return History(
        [
            Epoch.of(record.initial),
            *(
                Epoch.of(e.after, e.requested_s, e.settled_s or e.applied_s)
                for e in one_each_instant(record.events)
            ),
        ]
    )
