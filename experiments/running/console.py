"""Mininet's command line on a running cluster, with extra commands."""

from __future__ import annotations

import shlex

from mininet.cli import CLI
from mininet.log import output

from experiments.cluster.live_cluster import Cluster
from experiments.cluster.status import half_open, status
from experiments.running.ping_vip import as_text, ping_vip
from topologies.domain.events import EVENTS, EventError, parse_events
from topologies.domain.plan import PlanError


class Console(CLI):  # type: ignore[misc]
    """Adds events (e.g. ``drain-node c1n2``), ``connections``, ``halfopen``, ``members``."""

    prompt = "resetbed> "

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        output(
            f"events: {', '.join(EVENTS)}\nalso: pingall, members, connections, halfopen, help\n"
        )
        super().__init__(cluster.network.net)

    def default(self, line: str) -> None:
        """Executes a membership event by its name; passes anything else to Mininet."""
        words = shlex.split(line)
        if words and words[0] in EVENTS:
            self._event(words)
        else:
            super().default(line)

    def do_event(self, line: str) -> None:
        """Execute membership events together: event KIND TARGET [KIND TARGET ...]."""
        self._event(shlex.split(line))

    def do_members(self, _line: str) -> None:
        """Every node: its chassis, its state, its established connections."""
        for name, node in status(self.cluster)["nodes"].items():
            output(f"{name:8} {node['state']:12} {node['established']:6} established\n")

    def do_connections(self, _line: str) -> None:
        """Established connections on each node, and their sum."""
        nodes = status(self.cluster)["nodes"]
        for name, node in nodes.items():
            output(f"{name:8} {node['established']:6}\n")
        output(f"{'all':8} {sum(node['established'] for node in nodes.values()):6}\n")

    def do_halfopen(self, _line: str) -> None:
        """Half-open connections: a node holds them, no client does (RFC 9293, 3.5.1)."""
        for name, count in half_open(self.cluster).items():
            output(f"{name:8} {count:6}\n")

    def do_pingall(self, _line: str) -> None:
        """Ping the virtual address from every client, by IPv4 and IPv6."""
        clients = self.cluster.state.plan.clients
        pids = {client.name: self.cluster.pid(client.name) for client in clients}
        output(f"{as_text([*ping_vip(pids)])}\n")

    def _event(self, words: list[str]) -> None:
        if not words:
            kinds = "\n".join(f"  {e.kind:16} {e.target}" for e in EVENTS.values())
            output(f"usage: event KIND TARGET [KIND TARGET ...]\n{kinds}\n")
            return
        try:
            records = self.cluster.events(parse_events(words))
        except (EventError, PlanError) as error:
            output(f"{error}\n")
            return
        for record in records:
            settled = (record.settled_s or record.applied_s) - record.requested_s
            output(
                f"{record.kind} {record.target}: in the switches after "
                f"{settled * 1e3:.1f} ms\n"
            )
