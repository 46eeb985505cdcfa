"""A membership event that moves many connections, and how long their resets take.

From the first stray segment until the last client is reset *and* the last half-open
connection is gone: the clients' ends as their kernels report them, the nodes' ends by
the kernel's tracepoints, and in the end every kernel's socket table.
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

#: How often the nodes' tables are looked at, once the clients have been reset: rarely,
#: because looking takes time from those who work.
POLL_INTERVAL_S = 0.25


@dataclass(frozen=True)
class Wave:
    """One wave of resets.

    ``seconds``: first stray to the last end of a moved connection, at either side.
    ``half_open``: moved connections that live nodes still held when time was up;
    ``clients_lost``: moved ones whose client was not reset; ``disturbed``: connections
    that were reset though they had not moved. ``freed``: half-open connections that
    the fan-out ended. ``probes_lost``: events that the tracepoints lost. ``strays``
    count those that were sent again too, ``copies`` those that arrived at nodes.
    ``waiting``: how long connections that did not move waited for their answers.
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
        """All of it."""
        return asdict(self)


def reset_wave(
    network: OurNetwork,
    load_generators: LoadGenerators,
    event: tuple[str, str],
    timeout_s: float,
) -> Wave:
    """One request on every connection at once, before the event and after it.

    ``load_generators`` hold connections of which nothing was heard since they were opened. What
    the first requests cost an unmoved connection is what such a burst costs anyway.
    """
    before = _owners(network, load_generators, network.state)
    quiet = load_generators.request(at_once=True, timeout_s=timeout_s)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sockets.jsonl")
        options = ["--output", str(file), "--port", str(ECHO_PORT)]
        probes = Instrument("probes", options, Path(folder, "log"))
        try:
            seen = _counted(network)
            record = network.cluster.event(*event)
            after = _owners(network, load_generators, network.state)
            moved = {c: before[c] for c in before if before[c] != after[c]}
            asked = load_generators.request(at_once=True, timeout_s=timeout_s)
            live = {node.name for node in network.cluster.live_nodes()}
            half_open = {c: o for c, o in moved.items() if o is not None and o in live}
            left = _await_freed(network, half_open, asked.first_s + timeout_s)
            lost = probes.finish()["lost"]
            strays, copies = (
                b - a for a, b in zip(seen, _counted(network), strict=True)
            )
        finally:
            probes.kill()
        ends = _Ends.read(file, moved)
    settled = (record.settled_s or record.applied_s) - record.requested_s
    return replace(
        _wave(network, moved, half_open, left, asked, ends),
        probes_lost=lost,
        settled_seconds=settled,
        strays=strays,
        copies=copies,
        waiting=waiting(_waited(network, quiet), _waited(network, asked), moved),
    )


def _waited(network: OurNetwork, asked: RequestResults) -> dict[FourTuple, float]:
    return {
        network.connection(client, ECHO_PORT, port): ms
        for (client, port), ms in asked.waited_ms.items()
    }


def waiting(
    before: Mapping[FourTuple, float],
    during: Mapping[FourTuple, float],
    moved: Collection[FourTuple],
) -> dict[str, Any]:
    """How long connections that did not move waited for their answers, in ms.

    ``before`` the event and ``during`` the wave: the same connections, asked at once.
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
    left: Collection[FourTuple],
    asked: RequestResults,
    ends: _Ends,
) -> Wave:
    """The wave, as far as it can be told from the connections' ends."""
    reset = {network.connection(c, ECHO_PORT, port) for c, port in asked.reset}
    last_client = max(ends.clients.values(), default=0) / 1e9
    freed = {c: t for c, t in ends.nodes.items() if c in half_open}
    last = max(last_client, max(freed.values(), default=0) / 1e9)
    return Wave(
        connections=asked.asked,
        moved=len(moved),
        freed=len(half_open) - len(left),
        seconds=max(0.0, last - asked.first_s),
        clients_seconds=max(0.0, last_client - asked.first_s),
        half_open=len(left),
        clients_lost=len(moved.keys() - reset),
        disturbed=len(reset - moved.keys()),
    )


def _counted(network: OurNetwork) -> tuple[int, int]:
    """Strays and copies that the guards have seen so far."""
    guards = network.cluster.guard_counters()
    return sum(one.strays for one in guards), sum(one.copies_received for one in guards)


def _owners(
    network: OurNetwork, load_generators: LoadGenerators, state: ClusterState
) -> dict[FourTuple, str | None]:
    connections = (
        network.connection(client, ECHO_PORT, port)
        for client, port in load_generators.connections
    )
    return {each: network.owner(state, each) for each in connections}


def _await_freed(
    network: OurNetwork, half_open: Mapping[FourTuple, str], deadline_s: float
) -> set[FourTuple]:
    """Those of the half-open connections (and owners) that are held when time is up.

    A look at a thousand busy nodes takes many seconds, and what it saw first may be
    gone by its end: only one that began after the deadline says what is left.
    """
    left = set(half_open)
    while True:
        began_s = time.time()
        held = {
            one.connection
            for owner in {half_open[connection] for connection in left}
            for one in sockets_of(network.pid(owner))
        }
        left &= held
        if not left or began_s > deadline_s:
            return left
        time.sleep(POLL_INTERVAL_S)
