"""The analysis of a run: the outcome of every connection, and the claim chart."""

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
    sockets_by_events,
    sockets_in_flux,
)
from experiments.analysis.arrivals import Arrivals, arrivals
from experiments.analysis.claim import ORDER, Case, ClaimChart, ClaimRow, cases_of
from experiments.analysis.client_wire import ClientWire
from experiments.analysis.disturbed import disturbed
from experiments.analysis.epochs import IN_FLIGHT_NS, Epoch, EpochTimeline
from experiments.analysis.limited import with_limited
from experiments.analysis.observations import (
    Observation,
    is_syn_ack,
    read_observations,
)
from experiments.analysis.outcomes import (
    Outcome,
    Totals,
    connection_outcomes,
    is_stray_candidate,
    totals,
)
from experiments.analysis.refusals import without_refusals
from experiments.analysis.reset_traces import PortRoles, ResetTrace, find_reset_traces
from experiments.analysis.socket_states import SocketLifetime, socket_lifetimes
from experiments.analysis.waiting import Waiting, waiting_unmoved
from experiments.record.event_record import one_per_instant
from experiments.record.run_record import RunRecord, Snapshots
from experiments.record.socket_events import read_socket_events
from topologies.domain.connection import format_connection
from topologies.domain.plan import SECOND_CHANCE_MAC


@dataclass(frozen=True)
class Analysis:
    """The outcomes of a run's connections, and the claim chart.

    ``moved_connections``: as text, sorted: the same for the same seed.
    ``mispredicted``: how many connections were, before the first event, on another node
    than predicted, or on none. ``arrivals``: the same comparison for every captured
    segment of a client, during the whole run. ``half_open_count``: connections that were
    half open for some time, including those at the end. ``agreement``: the kernels'
    socket tables at the end, compared with the socket events. ``opened_by_kernel``: how
    many of the connections that clients reported when they were ready the probes saw
    established. ``begun_unseen``: sockets with events but without an opening, although
    the probes ran before they opened. ``waiting``: how long unmoved connections waited
    for answers; None without a capture.
    """

    totals: Totals
    claim: Sequence[ClaimRow]
    order: ClaimRow | None
    moved_connections: list[str]
    #: What ended connections that did not move.
    disturbed: list[str]
    connections: list[dict[str, Any]]
    mispredicted: int
    arrivals: Arrivals
    agreement: Agreement
    opened_by_kernel: int
    begun_unseen: int
    half_open_count: int
    #: What the claim chart checked: moved connections that spoke, with their resets.
    cases: Sequence[Case]
    waiting: Waiting | None


def analyse(record: RunRecord) -> Analysis:
    """The whole analysis of one run."""
    with _no_collection():
        return _analyse(record)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disables Python's cycle collector: millions of records contain no cycles, and the
    repeated search takes a quarter of the analysis time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _analyse(record: RunRecord) -> Analysis:
    timeline = timeline_of(record)
    roles = PortRoles.of(record.final.plan)
    wire = ClientWire()
    observations = _observations(record, roles, wire)
    lifetimes = _lifetimes(record)
    outcomes = _outcomes(record, timeline, roles, observations, lifetimes)
    traces = find_reset_traces(observations or (), roles)
    outcomes = with_limited(outcomes, observations or (), traces)
    outcomes = without_refusals(outcomes, record.final.plan.clients, record.reports)
    rows = _claim(record, timeline, roles, outcomes, traces)
    return Analysis(
        totals=totals(outcomes),
        claim=[row for row in rows if row.element != ORDER],
        order=next((row for row in rows if row.element == ORDER), None),
        moved_connections=sorted(
            {format_connection(o.connection) for o in outcomes if o.moved}
        ),
        disturbed=disturbed(outcomes, observations or (), _first_event_ns(record)),
        connections=[_row(outcome) for outcome in outcomes],
        mispredicted=_mispredicted(record, timeline, outcomes),
        arrivals=_arrivals(record, timeline, roles, observations),
        agreement=_agreement(record, timeline, lifetimes, outcomes),
        opened_by_kernel=_opened_by_kernel(record, outcomes),
        begun_unseen=sum(lifetime.opened_ns is None for lifetime in lifetimes),
        half_open_count=sum(outcome.half_open is not None for outcome in outcomes),
        cases=_cases(record, outcomes, traces),
        waiting=_waiting(record, outcomes, wire),
    )


def _observations(
    record: RunRecord, roles: PortRoles, wire: ClientWire
) -> list[Observation] | None:
    """The captured segments until the end of the observation; None without a capture.

    Requests and answers at clients' ports go only to ``wire``.
    """
    if record.capture_file is None:
        return None
    handlers = dict.fromkeys(roles.client_ports, wire.handle)
    path = str(record.capture_file)
    return list(read_observations(path, record.end_ns, handlers))


def _first_event_ns(record: RunRecord) -> int:
    """When the first event was asked for; without one, when all was steady."""
    instants = [event.requested_s for event in record.events]
    return round(min(instants, default=record.snapshots.steady_s) * 1e9)


def _waiting(
    record: RunRecord, outcomes: Sequence[Outcome], wire: ClientWire
) -> Waiting | None:
    if record.capture_file is None:
        return None
    requested = sorted(round(event.requested_s * 1e9) for event in record.events)
    steady_ns = round(record.snapshots.steady_s * 1e9)
    return waiting_unmoved(outcomes, wire.dialogues(), requested, steady_ns)


def _outcomes(
    record: RunRecord,
    timeline: EpochTimeline,
    roles: PortRoles,
    observations: Sequence[Observation] | None,
    lifetimes: Sequence[SocketLifetime],
) -> list[Outcome]:
    preserves_moved = record.initial.policy.preserves_moved
    if observations is None:
        return connection_outcomes(
            lifetimes, timeline, None, record.end_ns, preserves_moved=preserves_moved
        )
    nodes = frozenset(roles.nodes)
    strays = [o for o in observations if is_stray_candidate(o, nodes)]
    if record.initial.policy.on_stray is OnStray.REDIRECT:
        # A segment that the first node does not recognise is redirected by design.
        # It is a stray only if the second node does not recognise it either.
        strays = [o for o in strays if o.eth_src == SECOND_CHANCE_MAC]
    answers = [o for o in observations if is_syn_ack(o, nodes)]
    return connection_outcomes(
        lifetimes, timeline, strays, record.end_ns, answers, preserves_moved
    )


def _lifetimes(record: RunRecord) -> list[SocketLifetime]:
    """Every socket of the cluster's hosts, by the probes' events."""
    return socket_lifetimes(read_socket_events(str(record.sockets_file)))


def _claim(
    record: RunRecord,
    timeline: EpochTimeline,
    roles: PortRoles,
    outcomes: Sequence[Outcome],
    traces: Sequence[ResetTrace],
) -> list[ClaimRow]:
    if record.capture_file is None:
        return [
            ClaimRow(f"E{n}", False, "nothing was captured (capture: off)", 0, 0)
            for n in range(1, 6)
        ]
    excludes_origin = record.initial.policy.travel is Travel.TO_OTHERS
    chart = ClaimChart(timeline, roles, excludes_origin)
    return chart.rows(outcomes, traces, record.end_ns)


def _row(outcome: Outcome) -> dict[str, Any]:
    """One line of ``connections.jsonl``. Times are CLOCK_REALTIME seconds."""
    stray = outcome.first_stray
    return {
        "connection": format_connection(outcome.connection),
        "owner": outcome.owner,
        "moved": outcome.moved,
        "new_owner": outcome.moved_to,
        "hung": outcome.hung,
        "opened_s": outcome.opened_ns / 1e9,
        "moved_s": _seconds(outcome.moved_ns),
        "first_stray_s": _seconds(stray.time_ns if stray else None),
        "first_stray_at": stray.label if stray else None,
        "reset_s": _seconds(outcome.reset_ns),
        "owner_freed_s": _seconds(outcome.freed_ns),
        "owner_out_of_reach": outcome.owner_out_of_reach,
        "half_open_s": outcome.half_open and [_seconds(ns) for ns in outcome.half_open],
        "half_open_at_end": outcome.half_open_at_end,
        "reset_latency_ms": outcome.latency_ms,
    }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9


def _mispredicted(
    record: RunRecord, timeline: EpochTimeline, outcomes: Sequence[Outcome]
) -> int:
    """How many connections the first read of the tables found on another node than
    predicted, or on none."""
    owner_of, snapshots = timeline.epochs[0].owner_of, record.snapshots
    wrong = {
        connection
        for connection, nodes in snapshots.held_before.items()
        if nodes != [owner_of(connection)]
    }
    read_ns = round(snapshots.first_look_s * 1e9)
    opened = {
        outcome.connection
        for outcome in outcomes
        if outcome.opened_ns < read_ns - IN_FLIGHT_NS
        and (outcome.ended_ns or record.end_ns) > read_ns + IN_FLIGHT_NS
    }
    return len(wrong | (opened - snapshots.held_before.keys()))


def _arrivals(
    record: RunRecord,
    timeline: EpochTimeline,
    roles: PortRoles,
    observations: Sequence[Observation] | None,
) -> Arrivals:
    """Arrivals compared with the prediction; none if the policy overrides the hash."""
    if observations is None or record.initial.policy.preserves_moved:
        return Arrivals(0, frozenset())
    return arrivals(observations, timeline, frozenset(roles.nodes))


def _agreement(
    record: RunRecord,
    timeline: EpochTimeline,
    lifetimes: Sequence[SocketLifetime],
    outcomes: Sequence[Outcome],
) -> Agreement:
    """The socket tables of the end compared with the socket events."""
    snapshots, last = record.snapshots, timeline.epochs[-1]
    powered = {n.name for n in record.final.plan.nodes if last.powers(n.name)}
    clients = {(connection, CLIENT) for connection in snapshots.clients_after}
    return agreement(
        _held_by_tables(snapshots) | clients,
        sockets_by_events(lifetimes, record.end_ns, powered),
        _half_open_by_tables(record, timeline),
        outcomes,
        sockets_in_flux(lifetimes, round(snapshots.last_look_s * 1e9), record.end_ns),
    )


def _held_by_tables(snapshots: Snapshots) -> frozenset[Place]:
    return frozenset(
        (connection, node)
        for connection, nodes in snapshots.held_after.items()
        for node in nodes
    )


def _half_open_by_tables(
    record: RunRecord, timeline: EpochTimeline
) -> frozenset[Place]:
    snapshots, owner_of = record.snapshots, timeline.epochs[-1].owner_of
    preserves_moved = record.initial.policy.preserves_moved
    return frozenset(
        (connection, node)
        for connection, node in _held_by_tables(snapshots)
        if connection not in snapshots.clients_after
        or not (preserves_moved or node == owner_of(connection))
    )


def _opened_by_kernel(record: RunRecord, outcomes: Sequence[Outcome]) -> int:
    """How many connections of the clients' ready reports the probes saw open."""
    ready = {
        (address, port)
        for client in record.final.plan.clients
        if (report := record.reports.get(client.name))
        for address in (client.ipv4, client.ipv6)
        for port in report.ports
    }
    return len(ready & {(o.connection.src, o.connection.sport) for o in outcomes})


def _cases(
    record: RunRecord, outcomes: Sequence[Outcome], traces: Sequence[ResetTrace]
) -> Sequence[Case]:
    """The cases, with traces that began before the end of the observation."""
    return cases_of(
        outcomes, [trace for trace in traces if trace.first_ns < record.end_ns]
    )


def timeline_of(record: RunRecord) -> EpochTimeline:
    """The cluster's states and their times."""
    return EpochTimeline(
        [
            Epoch.of(record.initial),
            *(
                Epoch.of(e.after, e.requested_s, e.settled_s or e.applied_s)
                for e in one_per_instant(record.events)
            ),
        ]
    )
