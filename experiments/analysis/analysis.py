"""From what the instruments saw to what became of every connection, and the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.ovs_hash import FourTuple
from controller.state import ClusterState
from experiments.analysis.arrivals import Arrivals, arrivals
from experiments.analysis.claim import ORDER, ClaimChart, ClaimRow, cases_of
from experiments.analysis.connection import written
from experiments.analysis.epochs import Epoch, History
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
from experiments.cluster.changes import EventRecord, one_each_instant
from experiments.instruments.socket_events import read_socket_events
from experiments.ladder.ladder import LadderError, choose, ladder
from experiments.ladder.svg import ladder_svg
from experiments.ladder.text import ladder_text
from nodes.client_report import ClientReport, Summary
from topologies.datapaths import Datapath
from topologies.plan import SECOND_CHANCE_MAC


@dataclass
class Course:
    """What happened in a run: instants (CLOCK_REALTIME s) and snapshots of sockets."""

    steady_s: float = 0.0
    end_s: float = 0.0
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
    that the hash foretells; ``arrivals``: the same for every captured segment of a
    client, all through the run. ``half_open_count``: connections that were half open for
    some time, those of ``at_end`` included. ``half_open_by_tables``: sockets on live nodes, at the end,
    that no client has or that are not where the hash leads: counted without the
    instruments, from the kernels' socket tables.
    """

    totals: Totals
    claim: Sequence[ClaimRow]
    order: ClaimRow | None
    moved_connections: list[str]
    connections: list[dict[str, Any]]
    mispredicted: int
    arrivals: Arrivals
    half_open_by_tables: int
    half_open_count: int
    drawing: Drawing | None


def analyse(evidence: Evidence) -> Analysis:
    """The whole analysis of one run."""
    history = evidence.history()
    places = Places.of(evidence.final.plan)
    observations = _observations(evidence)
    fates = _fates(evidence, history, places, observations)
    trails = reset_trails(observations or (), places)
    rows = _claim(evidence, history, places, fates, trails)
    return Analysis(
        totals=totals(fates),
        claim=[row for row in rows if row.element != ORDER],
        order=next((row for row in rows if row.element == ORDER), None),
        moved_connections=sorted({written(f.connection) for f in fates if f.moved}),
        connections=[_row(fate) for fate in fates],
        mispredicted=_mispredicted(evidence, history),
        arrivals=_arrivals(evidence, history, places, observations),
        half_open_by_tables=_half_open_by_tables(evidence, history),
        half_open_count=sum(fate.half_open is not None for fate in fates),
        drawing=_draw(evidence, fates, trails),
    )


def _observations(evidence: Evidence) -> list[Observation] | None:
    """What was captured until the end of the observation; None: nothing was."""
    if evidence.capture_file is None:
        return None
    end_ns = evidence.end_ns
    path = str(evidence.capture_file)
    return list(read_observations(path, lambda one: one.time_ns < end_ns))


def _fates(
    evidence: Evidence,
    history: History,
    places: Places,
    observations: Sequence[Observation] | None,
) -> list[Fate]:
    lives = _lives(evidence)
    if observations is None:
        return connection_fates(lives, history, None, evidence.end_ns)
    nodes = frozenset(places.nodes)
    strays = [one for one in observations if is_stray_candidate(one, nodes)]
    if evidence.initial.policy.passes_on:
        # The first node's ignorance is part of the design; the second's is final.
        strays = [one for one in strays if one.eth_src == SECOND_CHANCE_MAC]
    answers = [one for one in observations if is_answer(one, nodes)]
    return connection_fates(lives, history, strays, evidence.end_ns, answers)


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


def _mispredicted(evidence: Evidence, history: History) -> int:
    owner_of = history.epochs[0].owner_of
    return sum(
        nodes != [owner_of(connection)]
        for connection, nodes in evidence.course.held_before.items()
    )


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


def _half_open_by_tables(evidence: Evidence, history: History) -> int:
    course, owner_of = evidence.course, history.epochs[-1].owner_of
    stays = evidence.initial.policy.keeps_moved
    return sum(
        connection not in course.clients_after
        or not (stays or node == owner_of(connection))
        for connection, nodes in course.held_after.items()
        for node in nodes
    )


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
