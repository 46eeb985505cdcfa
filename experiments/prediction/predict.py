"""Predicts the owner of each connection of a spec, before and after each event.

No cluster is built. The seed determines the clients' source ports, the hash of the
switches is computed (:mod:`topologies.domain.hashing`), and an event's change of state is
a pure function.

The connections are those that the clients open at the start. They are followed through
all events as if nothing reset them. In a run, a client that was reset or that ended a
burst reconnects. That is another connection, from another port or, with the traffic
pattern ``port-reuse``, from the same port.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from controller.pipeline.cluster_state import ClusterState
from experiments.analysis.balance import balance, forecast_of
from experiments.display.render import console
from experiments.spec.run_spec import EventSpec, RunSpec
from experiments.workloads import WORKLOADS
from nodes.clients.client_ports import seeded_ports
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.events.link_change import described
from topologies.domain.plan import client_address, vip


@dataclass(frozen=True)
class Prediction:
    """Every connection's owner in every state of a cluster.

    ``instants``: the events, grouped by instant. ``states``: the state before the first
    instant, and after each. ``owners[s][c]``: the node of connection ``c`` in state
    ``s``, or None.
    """

    spec: RunSpec
    connections: Sequence[FourTuple]
    instants: Sequence[Sequence[EventSpec]]
    states: Sequence[ClusterState]
    owners: Sequence[Sequence[str | None]]

    def moved(self, instant: int) -> int:
        """How many connections have another owner after that instant (from 0)."""
        before, after = self.owners[instant], self.owners[instant + 1]
        return sum(x != y for x, y in zip(before, after, strict=True))

    def to_json(self) -> dict[str, Any]:
        """One object: the spec's settings, what each event moves, and every owner. The
        events of one instant move connections together: each has the same ``moved``."""
        return {
            "scenario": self.spec.scenario,
            "balancer": self.spec.balancer,
            "seed": self.spec.seed,
            "ip": self.spec.ip,
            "events": [
                {
                    "at": event.at,
                    "kind": event.kind,
                    "target": event.target,
                    **event.options,
                    "moved": self.moved(number),
                }
                for number, instant in enumerate(self.instants)
                for event in instant
            ],
            "balance": balance(self.states, self.connections),
            "connections": [
                {"connection": format_connection(connection), "owners": owners}
                for connection, owners in zip(
                    self.connections, zip(*self.owners, strict=True), strict=True
                )
            ],
        }


def predict(spec: RunSpec) -> Prediction:
    """The prediction for that spec.

    Raises :class:`~topologies.domain.events.EventError` or ``PlanError`` for an event that
    is not possible in its state.
    """
    connections, states = connections_of(spec), spec.states()
    owners = [[*map(forecast_of(state).owner_of, connections)] for state in states]
    return Prediction(spec, connections, spec.instants(), states, owners)


def connections_of(spec: RunSpec) -> tuple[FourTuple, ...]:
    """The connections that the clients open at the start, client by client."""
    clients = spec.plan().clients
    port, target = WORKLOADS[spec.workload.kind].port, vip(spec.ip)
    return tuple(
        FourTuple(client_address(client, spec.ip), source_port, target, port)
        for client, share in zip(
            clients, split_evenly(spec.workload.connections, len(clients)), strict=True
        )
        for source_port in seeded_ports(spec.seed, client.name)[:share]
    )


def split_evenly(total: int, parts: int) -> list[int]:
    """``total`` split into ``parts`` as evenly as possible, the larger ones first.

    >>> split_evenly(8, 3)
    [3, 3, 2]
    """
    return [total // parts + (i < total % parts) for i in range(parts)]


def print_prediction(prediction: Prediction) -> None:
    """Prints the connections of each node in each state, what moves, and the balance."""
    out = console()
    out.print(load_table(prediction))
    figures = balance(prediction.states, prediction.connections)
    for title, key in (
        ("busiest chassis over mean", "fabric_max_over_mean"),
        ("busiest node over mean", "node_max_over_mean"),
    ):
        ends = figures[key]
        out.print(f"{title}: {ends['before']:.2f} before, {ends['after']:.2f} after")
    if (polarisation := figures["polarisation"])["as_it_is"] is not None:
        out.print(
            f"polarisation (1: none): {polarisation['as_it_is']:.2f}; "
            f"with the same basis in both tiers: {polarisation['same_basis']:.2f}"
        )


def load_table(prediction: Prediction) -> Table:
    """One row for each node, one column for each state, and what each event moves."""
    spec, total = prediction.spec, len(prediction.connections)
    table = Table(
        title=f"{spec.scenario}: {total} connections, seed {spec.seed}, {spec.balancer}",
        title_justify="left",
        show_footer=True,
    )
    table.add_column("node", footer="moved")
    table.add_column("before", justify="right")
    for number, instant in enumerate(prediction.instants):
        moved = prediction.moved(number)
        table.add_column(
            "\n".join(
                described(event.kind, target, event.link)
                for event, target in spec.requests(instant)
            ),
            footer=f"{moved} ({moved / total:.1%})",
            justify="right",
        )
    counts = [Counter(owners) for owners in prediction.owners]
    for node in prediction.states[-1].plan.nodes:
        table.add_row(node.name, *(_count_text(count[node.name]) for count in counts))
    return table


def _count_text(connections: int) -> str:
    """A dash for a node without connections."""
    return str(connections) if connections else "–"
