"""The record of a run: everything that was observed, before any analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.record.event_record import EventRecord, one_per_instant
from nodes.clients.client_report import ClientReport, Summary
from topologies.datapaths import Datapath
from topologies.domain.connection import FourTuple


@dataclass
class Snapshots:
    """The kernels' socket tables at two instants of a run, with these instants
    (CLOCK_REALTIME s)."""

    steady_s: float = 0.0
    end_s: float = 0.0
    #: When the first read of the nodes' tables began, and the last one of all tables.
    first_look_s: float = 0.0
    last_look_s: float = 0.0
    #: Connection -> nodes with a socket of it, when all were open, before any event.
    held_before: dict[FourTuple, list[str]] = field(default_factory=dict)
    #: The same at the end of the observation, of live nodes.
    held_after: dict[FourTuple, list[str]] = field(default_factory=dict)
    #: Connections with a client's socket at the end of the observation.
    clients_after: frozenset[FourTuple] = frozenset()


@dataclass(frozen=True)
class RunRecord:
    """Everything that was observed of a run, before any analysis.

    ``initial``: the cluster's first state. ``final``: its last. Capture and socket events
    are in files, the rest is here.
    """

    initial: ClusterState
    final: ClusterState
    events: Sequence[EventRecord]
    snapshots: Snapshots
    packets: Mapping[str, int]
    reports: Mapping[str, ClientReport]
    instruments: Mapping[str, Mapping[str, Any]]
    capture_file: Path | None
    sockets_file: Path
    cluster: Mapping[str, Any]
    datapath: Datapath
    #: The cost of pinning (:func:`experiments.cluster.pins.pins`); None without pinning.
    pins: Mapping[str, Any] | None = None
    #: Connections that the healer destroyed at the deadline; None without healing.
    destroyed: int | None = None
    #: Errors in the cluster's own threads (``Cluster.faults``).
    faults: Sequence[str] = ()
    #: Frames that were lost because switches did not read them in time.
    switch_drops: int = 0
    #: Code, machine, versions and load (:mod:`experiments.machine.provenance`).
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def client_summaries(self) -> list[Summary]:
        """The summaries of the clients that ended normally."""
        return [report.summary for report in self.reports.values() if report.summary]

    @property
    def end_ns(self) -> int:
        """End of the observation, CLOCK_REALTIME."""
        return round(self.snapshots.end_s * 1e9)

    def states(self) -> list[ClusterState]:
        """The cluster's states: the first, and the one after each instant of events."""
        return [self.initial, *(e.after for e in one_per_instant(self.events))]
