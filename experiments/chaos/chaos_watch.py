"""Looks at a cluster all the time: socket tables, socket probes, programs, histories."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from experiments.chaos.chaos_clients import ChaosClients
from experiments.chaos.chaos_facts import (
    Fact,
    Fault,
    Look,
    Memory,
    NodeSocket,
    fact_of_socket_event,
)
from experiments.chaos.mixed_workload import PORTS
from experiments.chaos.program_table import ProgramTable
from experiments.cluster.live_cluster import Cluster
from experiments.instruments.bpf_ring import records_of
from experiments.instruments.probes import Probes
from experiments.instruments.socket_table import sockets_of
from experiments.record.socket_events import REPORT, SocketEvent, event_of
from nodes.kernel.network_namespace import enter_netns, netns_inode
from nodes.kernel.sock_diag import SockDiagError
from nodes.kernel.socket_dump import SocketDump
from topologies.domain.connection import FourTuple

#: How often it looks, and how often it reads how much memory programs have, in seconds.
PERIOD_S = 0.2
MEMORY_PERIOD_S = 2.0

#: Takes each fact, in the order of time.
Feed = Callable[[Fact], None]


class SocketProbes:
    """The probes of :mod:`experiments.instruments.probes`, read while they run."""

    def __init__(self, hosts: dict[int, str]) -> None:
        """Attaches them. ``hosts``: network namespaces of the clients, by inode.

        Raises :class:`~nodes.kernel.libbpf.BpfError` or :class:`OSError`.
        """
        self._spool = io.BytesIO()
        self._probes = Probes(self._spool, PORTS)
        self._hosts = hosts
        self._established: set[FourTuple] = set()
        self._reset: set[FourTuple] = set()
        self._probes.enable()

    def facts(self) -> Iterator[Fact]:
        """What clients' sockets have done since the last call, oldest first."""
        for event in sorted(self._events()):
            if event.host:
                fact = fact_of_socket_event(event, self._established, self._reset)
                if fact:
                    yield fact

    def close(self) -> dict[str, int]:
        """Detaches them; returns their counts, with those ``lost``."""
        counts = self._probes.write("/dev/null")
        self._probes.close()
        return counts

    def _events(self) -> Iterator[SocketEvent]:
        self._probes.read()
        reports = self._spool.getvalue()
        self._spool.seek(0)
        self._spool.truncate()
        for report in records_of(reports, REPORT):
            yield event_of(report, self._probes.offset_ns, self._hosts)


class ChaosWatch:
    """The thread that looks."""

    def __init__(self, cluster: Cluster, clients: ChaosClients, feed: Feed) -> None:
        """Attaches the probes; raises what :class:`SocketProbes` does."""
        self._cluster = cluster
        self._clients = clients
        self._feed = feed
        self._programs = ProgramTable(cluster)
        self._dumps: dict[str, SocketDump] = {}
        self._faults_seen = 0
        self._next_memory_s = 0.0
        names = [client.name for client in clients.hosts]
        self._probes = SocketProbes(
            {netns_inode(cluster.pid(name)): name for name in names}
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Looks from now on."""
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """Ends looking; returns the probes' counts."""
        self._stopping.set()
        self._thread.join()
        for dump in self._dumps.values():
            dump.close()
        return self._probes.close()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            late_s = max(0.0, time.monotonic() - due_s)
            try:
                for fact in self._all_facts(late_s):
                    self._feed(fact)
            except Exception as error:  # noqa: BLE001
                # Without the watch nothing is judged, so the run must not pass.
                self._feed(Fault(time.time(), f"the watch: {error!r}"))
            due_s = max(due_s + PERIOD_S, time.monotonic())

    def _all_facts(self, late_s: float) -> Iterator[Fact]:
        yield from self._clients.new_facts()
        look = self._look(late_s)
        # After the look, so that all it shows is known when it is judged.
        yield from self._probes.facts()
        yield look
        yield from self._errors()
        if time.monotonic() >= self._next_memory_s:
            self._next_memory_s = time.monotonic() + MEMORY_PERIOD_S
            yield Memory(time.time(), self._programs.memory_kib())

    def _look(self, late_s: float) -> Look:
        """Nodes first: what closes meanwhile is half open in this look only."""
        idle, ended = self._programs.idle()
        held = tuple(self._held())
        of_clients = frozenset(
            one.connection
            for client in self._clients.hosts
            for one in sockets_of(self._cluster.pid(client.name))
        )
        return Look(time.time(), held, of_clients, idle, ended, late_s)

    def _held(self) -> Iterator[NodeSocket]:
        for node in self._cluster.live_nodes():
            with suppress(OSError, SockDiagError, KeyError):  # it is being built
                for one in list(self._dump(node.name).connections()):
                    if one.silent_s is not None:
                        yield NodeSocket(node.name, one.connection, one.cookie)

    def _dump(self, node: str) -> SocketDump:
        if node not in self._dumps:
            with enter_netns(self._cluster.pid(node)):
                self._dumps[node] = SocketDump()
        return self._dumps[node]

    def _errors(self) -> Iterator[Fault]:
        """Errors in the cluster's own threads, and clients that ended by themselves."""
        faults = self._cluster.faults
        new: Iterable[str] = faults[self._faults_seen :]
        self._faults_seen = len(faults)
        for text in (*new, *self._clients.ended()):
            yield Fault(time.time(), text)
