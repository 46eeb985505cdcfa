"""From what the instruments saw to what became of every connection, and the claim."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.analysis.agreement import (
    CLIENT,
    Agreement,
    Place,
    agreement,
    by_events,
    in_flux,
)
from experiments.analysis.arrivals import Arrivals, arrivals
from experiments.analysis.claim import ORDER, ClaimChart, ClaimRow, cases_of
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
from experiments.cluster.changes import EventRecord, one_each_instant
from experiments.instruments.socket_events import read_socket_events
from experiments.ladder.ladder import LadderError, choose, ladder
from experiments.ladder.svg import ladder_svg
from experiments.ladder.text import ladder_text
from nodes.clients.client_report import ClientReport, Summary
from topologies.datapaths import Datapath
from topologies.domain.connection import FourTuple, written
from topologies.domain.plan import SECOND_CHANCE_MAC


@dataclass
class Course:
    """What happened in a run: instants (CLOCK_REALTIME s) and snapshots of sockets."""

    steady_s: float = 0.0
    end_s: float = 0.0
    #: When the first look at the nodes' sockets began, and the last one at all sockets.
    first_look_s: float = 0.0
    last_look_s: float = 0.0
    #: Connection -> nodes that held it when all were open and nothing had happened.
    held_before: dict[FourTuple, list[str]] = field(default_factory=dict)
    #: The same at the end of the observation: what live nodes still hold.
    held_after: dict[FourTuple, list[str]] = field(default_factory=dict)
    #: Connections that clients' kernels still have at the end of the observation.
    clients_after: frozenset[FourTuple] = frozenset()


@dataclass(frozen=True)
class Evidence:
    """Everything that a run leaves to be analysed; ``initial`` is its first state."""

    initial: ClusterState
    final: ClusterState
    events: Sequence[EventRecord]
    course: Course
    packets: Mapping[str, int]
    reports: Mapping[str, ClientReport]
    instruments: Mapping[str, Mapping[str, Any]]
    capture_file: Path | None
    sockets_file: Path
    cluster: Mapping[str, Any]
    datapath: Datapath
    #: What pinning cost (:func:`experiments.cluster.pins.pins`); None where nothing is pinned.
    pins: Mapping[str, Any] | None = None
    #: What went wrong in the cluster's own threads (``Cluster.faults``).
    faults: Sequence[str] = ()
    #: Frames that switches lost because they did not read them in time.
    switch_drops: int = 0

    @property
    def client_summaries(self) -> list[Summary]:
        """What the clients that ended well say of their work."""
        return [report.summary for report in self.reports.values() if report.summary]

    @property
    def end_ns(self) -> int:
        """End of the observation, CLOCK_REALTIME."""
        return round(self.course.end_s * 1e9)

    def states(self) -> list[ClusterState]:
        """The cluster's states: the first, and the one after each instant of events."""
        return [self.initial, *(e.after for e in one_each_instant(self.events))]

    def history(self) -> History:
        """The cluster's states and their times."""
        return History(
            [
                Epoch.of(self.initial),
                *(
                    Epoch.of(e.after, e.requested_s, e.settled_s or e.applied_s)
                    for e in one_each_instant(self.events)
                ),
            ]
        )


@dataclass(frozen=True)
class Drawing:
    """The ladder diagram of one reset, twice."""

    svg: str
    text: str


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
    drawing: Drawing | None
    waiting: Waiting | None


def analyse(evidence: Evidence) -> Analysis:
    """The whole analysis of one run."""
    with _no_collection():
        return _analyse(evidence)


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


def _analyse(evidence: Evidence) -> Analysis:
    history = evidence.history()
    places = Places.of(evidence.final.plan)
    wire = ClientWire()
    observations = _observations(evidence, places, wire)
    lives = _lives(evidence)
    fates = _fates(evidence, history, places, observations, lives)
    trails = reset_trails(observations or (), places)
    rows = _claim(evidence, history, places, fates, trails)
    return Analysis(
        totals=totals(fates),
        claim=[row for row in rows if row.element != ORDER],
        order=next((row for row in rows if row.element == ORDER), None),
        moved_connections=sorted({written(f.connection) for f in fates if f.moved}),
        connections=[_row(fate) for fate in fates],
        mispredicted=_mispredicted(evidence, history, fates),
        arrivals=_arrivals(evidence, history, places, observations),
        agreement=_agreement(evidence, history, lives, fates),
        opened_by_kernel=_opened_by_kernel(evidence, fates),
        begun_unseen=sum(life.opened_ns is None for life in lives),
        half_open_count=sum(fate.half_open is not None for fate in fates),
        drawing=_draw(evidence, fates, trails),
        waiting=_waiting(evidence, fates, wire),
    )


def _observations(
    evidence: Evidence, places: Places, wire: ClientWire
) -> list[Observation] | None:
    """What was captured until the end of the observation; None: nothing was.

    Requests and answers at clients' ports go to ``wire`` alone.
    """
    if evidence.capture_file is None:
        return None
    takers = dict.fromkeys(places.client_ports, wire.take)
    path = str(evidence.capture_file)
    return list(read_observations(path, evidence.end_ns, takers))


def _waiting(
    evidence: Evidence, fates: Sequence[Fate], wire: ClientWire
) -> Waiting | None:
    if evidence.capture_file is None:
        return None
    requested = sorted(round(event.requested_s * 1e9) for event in evidence.events)
    steady_ns = round(evidence.course.steady_s * 1e9)
    return waiting_unmoved(fates, wire.dialogues(), requested, steady_ns)


def _fates(
    evidence: Evidence,
    history: History,
    places: Places,
    observations: Sequence[Observation] | None,
    lives: Sequence[SocketLife],
) -> list[Fate]:
    keeps_moved = evidence.initial.policy.keeps_moved
    if observations is None:
        return connection_fates(
            lives, history, None, evidence.end_ns, keeps_moved=keeps_moved
        )
    nodes = frozenset(places.nodes)
    strays = [one for one in observations if is_stray_candidate(one, nodes)]
    if evidence.initial.policy.passes_on:
        # The first node's ignorance is part of the design; the second's is final.
        strays = [one for one in strays if one.eth_src == SECOND_CHANCE_MAC]
    answers = [one for one in observations if is_answer(one, nodes)]
    return connection_fates(
        lives, history, strays, evidence.end_ns, answers, keeps_moved
    )


def _lives(evidence: Evidence) -> list[SocketLife]:
    """Every socket of the cluster's hosts: the probes know whose namespace is whose."""
    return socket_lives(read_socket_events(str(evidence.sockets_file)))


def _claim(
    evidence: Evidence,
    history: History,
    places: Places,
    fates: Sequence[Fate],
    trails: Sequence[Trail],
) -> list[ClaimRow]:
    if evidence.capture_file is None:
        return [
            ClaimRow(f"E{n}", False, "nothing was captured (capture: off)", 0, 0)
            for n in range(1, 6)
        ]
    chart = ClaimChart(history, places, evidence.initial.policy.spares_origin)
    return chart.rows(fates, trails, evidence.end_ns)


def _row(fate: Fate) -> dict[str, Any]:
    """One line of ``connections.jsonl``; instants in CLOCK_REALTIME s."""
    stray = fate.first_stray
    return {
        "connection": written(fate.connection),
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
        "reset_latency_ms": fate.latency_ms,
    }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9


def _mispredicted(evidence: Evidence, history: History, fates: Sequence[Fate]) -> int:
    """Connections that the first look found elsewhere than foretold, or nowhere."""
    owner_of, course = history.epochs[0].owner_of, evidence.course
    wrong = {
        connection
        for connection, nodes in course.held_before.items()
        if nodes != [owner_of(connection)]
    }
    look_ns = round(course.first_look_s * 1e9)
    opened = {
        fate.connection
        for fate in fates
        if fate.opened_ns < look_ns - IN_FLIGHT_NS
        and (fate.ended_ns or evidence.end_ns) > look_ns + IN_FLIGHT_NS
    }
    return len(wrong | (opened - course.held_before.keys()))


def _arrivals(
    evidence: Evidence,
    history: History,
    places: Places,
    observations: Sequence[Observation] | None,
) -> Arrivals:
    """Segments held against the hash; none where it is not the hash that decides."""
    if observations is None or evidence.initial.policy.keeps_moved:
        return Arrivals(0, frozenset())
    return arrivals(observations, history, frozenset(places.nodes))


def _agreement(
    evidence: Evidence,
    history: History,
    lives: Sequence[SocketLife],
    fates: Sequence[Fate],
) -> Agreement:
    """The socket tables of the end held against the socket events."""
    course, last = evidence.course, history.epochs[-1]
    powered = {n.name for n in evidence.final.plan.nodes if last.powers(n.name)}
    clients = {(connection, CLIENT) for connection in course.clients_after}
    return agreement(
        _held_by_tables(course) | clients,
        by_events(lives, evidence.end_ns, powered),
        _half_open_by_tables(evidence, history),
        fates,
        in_flux(lives, round(course.last_look_s * 1e9), evidence.end_ns),
    )


def _held_by_tables(course: Course) -> frozenset[Place]:
    return frozenset(
        (connection, node)
        for connection, nodes in course.held_after.items()
        for node in nodes
    )


def _half_open_by_tables(evidence: Evidence, history: History) -> frozenset[Place]:
    course, owner_of = evidence.course, history.epochs[-1].owner_of
    stays = evidence.initial.policy.keeps_moved
    return frozenset(
        (connection, node)
        for connection, node in _held_by_tables(course)
        if connection not in course.clients_after
        or not (stays or node == owner_of(connection))
    )


def _opened_by_kernel(evidence: Evidence, fates: Sequence[Fate]) -> int:
    """How many of the connections with which clients were ready the kernels tell of."""
    ready = {
        (address, port)
        for client in evidence.final.plan.clients
        if (report := evidence.reports.get(client.name))
        for address in (client.ipv4, client.ipv6)
        for port in report.ports
    }
    return len(ready & {(f.connection.src, f.connection.sport) for f in fates})


def _draw(
    evidence: Evidence, fates: Sequence[Fate], trails: Sequence[Trail]
) -> Drawing | None:
    """The ladder of the reset that shows most; None where nothing went astray."""
    before_end = [trail for trail in trails if trail.first_ns < evidence.end_ns]
    try:
        diagram = ladder(choose(cases_of(fates, before_end)), evidence.final.plan)
    except LadderError:
        return None
    return Drawing(svg=ladder_svg(diagram), text=ladder_text(diagram))
