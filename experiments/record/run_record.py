"""What a run leaves to be analysed: everything that was seen, and nothing that follows."""

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
    """The kernels' socket tables at two instants of a run, and those instants
    (CLOCK_REALTIME s)."""

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
class RunRecord:
    """Everything that was seen of a run, before anything is judged.

    ``initial`` is the cluster's first state, ``final`` its last. Capture and socket
    events are files; the rest is here.
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
    #: What pinning cost (:func:`experiments.cluster.pins.pins`); None where nothing is pinned.
    pins: Mapping[str, Any] | None = None
    #: What went wrong in the cluster's own threads (``Cluster.faults``).
    faults: Sequence[str] = ()
    #: Frames that switches lost because they did not read them in time.
    switch_drops: int = 0
    #: Code, machine, versions and load (:mod:`experiments.machine.provenance`).
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def client_summaries(self) -> list[Summary]:
        """What the clients that ended well say of their work."""
        return [report.summary for report in self.reports.values() if report.summary]

    @property
    def end_ns(self) -> int:
        """End of the observation, CLOCK_REALTIME."""
        return round(self.snapshots.end_s * 1e9)

    def states(self) -> list[ClusterState]:
        """The cluster's states: the first, and the one after each instant of events."""
        return [self.initial, *(e.after for e in one_per_instant(self.events))]
