"""A membership event that moves many connections, and the duration of their resets.

It is measured from the first stray segment until the last client is reset *and* the last
half-open connection has ended. Sources: the kernel's tracepoints for the ends of sockets,
and at the end the socket tables of all nodes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.analysis.statistics import percentiles
from experiments.bench.basis.bench_network import ECHO_PORT
from experiments.bench.measure.load_generators import LoadGenerators, RequestResults
from experiments.bench.networks.ours import OurNetwork
from experiments.instruments.instruments import Instrument
from experiments.instruments.socket_table import sockets_of
from experiments.record.socket_events import (
    RESET_RECEIVED,
    STATE,
    SocketEvent,
    read_socket_events,
)
from topologies.domain.connection import FourTuple

#: Interval of reading the nodes' socket tables, after the clients were reset. It is long,
#: because reading them loads the machine.
POLL_INTERVAL_S = 0.25


@dataclass(frozen=True)
class Wave:
    """One wave of resets.

    ``seconds``: first stray to the last end of a moved connection, on either side.
    ``half_open``: moved connections that live nodes still held at the timeout.
    ``clients_lost``: moved connections whose client was not reset. ``disturbed``: reset
    connections that had not moved. ``freed``: half-open connections that the fan-out
    ended. ``probes_lost``: lost events of the tracepoints. ``strays`` includes
    retransmissions; ``copies`` counts arrivals at nodes. ``waiting``: the wait for answers
    on connections that did not move.
    """

    connections: int
    moved: int
    freed: int
    seconds: float
    clients_seconds: float
    half_open: int
    clients_lost: int
    disturbed: int
    probes_lost: int = 0
    settled_seconds: float = 0.0
    strays: int = 0
    copies: int = 0
    waiting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every moved connection was reset on both sides, and no other."""
        return not (self.half_open or self.clients_lost or self.disturbed)

    def to_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def reset_wave(
    network: OurNetwork,
    generators: LoadGenerators,
    event: tuple[str, str],
    timeout_s: float,
) -> Wave:
    """Send one request on every connection at once, before the event and after it.

    The connections of ``generators`` must be unused. The requests before the event show
    the cost of such a burst without resets.
    """
    before = _owners(network, generators, network.state)
    quiet = generators.request(at_once=True, timeout_s=timeout_s)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sockets.jsonl")
        options = ["--output", str(file), "--port", str(ECHO_PORT)]
        probes = Instrument("probes", options, Path(folder, "log"))
        try:
            seen = _guard_counts(network)
            record = network.cluster.event(*event)
            after = _owners(network, generators, network.state)
            moved = {c: before[c] for c in before if before[c] != after[c]}
            results = generators.request(at_once=True, timeout_s=timeout_s)
            live = {node.name for node in network.cluster.live_nodes()}
            half_open = {c: o for c, o in moved.items() if o is not None and o in live}
            remaining = _await_freed(network, half_open, results.first_s + timeout_s)
            lost = probes.finish()["lost"]
            strays, copies = (
                b - a for a, b in zip(seen, _guard_counts(network), strict=True)
            )
        finally:
            probes.kill()
        ends = _Ends.read(file, moved)
    settled = (record.settled_s or record.applied_s) - record.requested_s
    return replace(
        _wave(network, moved, half_open, remaining, results, ends),
        probes_lost=lost,
        settled_seconds=settled,
        strays=strays,
        copies=copies,
        waiting=waiting(_waited(network, quiet), _waited(network, results), moved),
    )


def _waited(network: OurNetwork, results: RequestResults) -> dict[FourTuple, float]:
    return {
        network.connection(client, ECHO_PORT, port): ms
        for (client, port), ms in results.waited_ms.items()
    }


def waiting(
    before: Mapping[FourTuple, float],
    during: Mapping[FourTuple, float],
    moved: Collection[FourTuple],
) -> dict[str, Any]:
    """The wait for answers on connections that did not move, in ms.

    ``before`` the event and ``during`` the wave, for the same burst of requests.
    """
    unmoved = [
        {c: ms for c, ms in waited.items() if c not in moved}
        for waited in (before, during)
    ]
    quiet, wave = (percentiles(each.values())._asdict() for each in unmoved)
    return {"connections": len(unmoved[1]), "before": quiet, "during": wave}


@dataclass(frozen=True)
class _Ends:
    """When sockets of moved connections ended, CLOCK_REALTIME ns."""

    clients: Mapping[FourTuple, int]
    nodes: Mapping[FourTuple, int]

    @classmethod
    def read(cls, file: Path, moved: Collection[FourTuple]) -> _Ends:
        clients: dict[FourTuple, int] = {}
        nodes: dict[FourTuple, int] = {}
        for event in read_socket_events(str(file)):
            connection = event.connection
            if connection is None or connection not in moved:
                continue
            if event.at_client and event.kind == RESET_RECEIVED:
                clients[connection] = event.time_ns
            elif not event.at_client and _freed(event):
                nodes[connection] = event.time_ns
        return cls(clients, nodes)


def _freed(event: SocketEvent) -> bool:
    return event.kind == STATE and event.new == "CLOSE" and event.old != "CLOSE"


def _wave(
    network: OurNetwork,
    moved: Mapping[FourTuple, str | None],
    half_open: Collection[FourTuple],
    remaining: Collection[FourTuple],
    results: RequestResults,
    ends: _Ends,
) -> Wave:
    """The figures of the wave that follow from the ends of connections."""
    reset = {network.connection(c, ECHO_PORT, port) for c, port in results.reset}
    last_client = max(ends.clients.values(), default=0) / 1e9
    freed = {c: t for c, t in ends.nodes.items() if c in half_open}
    last = max(last_client, max(freed.values(), default=0) / 1e9)
    return Wave(
        connections=results.requests,
        moved=len(moved),
        freed=len(half_open) - len(remaining),
        seconds=max(0.0, last - results.first_s),
        clients_seconds=max(0.0, last_client - results.first_s),
        half_open=len(remaining),
        clients_lost=len(moved.keys() - reset),
        disturbed=len(reset - moved.keys()),
    )


def _guard_counts(network: OurNetwork) -> tuple[int, int]:
    """Strays and copies that the guards have counted so far."""
    guards = network.cluster.guard_counters()
    return sum(one.strays for one in guards), sum(one.copies_received for one in guards)


def _owners(
    network: OurNetwork, generators: LoadGenerators, state: ClusterState
) -> dict[FourTuple, str | None]:
    connections = (
        network.connection(client, ECHO_PORT, port)
        for client, port in generators.connections
    )
    return {each: network.owner(state, each) for each in connections}


def _await_freed(
    network: OurNetwork, half_open: Mapping[FourTuple, str], deadline_s: float
) -> set[FourTuple]:
    """The half-open connections (connection -> owner) that still exist at the deadline.

    Reading the tables of a thousand busy nodes takes many seconds, and the first results
    may be outdated at the end. So only a reading that began after the deadline counts.
    """
    remaining = set(half_open)
    while True:
        began_s = time.time()
        held = {
            one.connection
            for owner in {half_open[connection] for connection in remaining}
            for one in sockets_of(network.pid(owner))
        }
        remaining &= held
        if not remaining or began_s > deadline_s:
            return remaining
        time.sleep(POLL_INTERVAL_S)
