"""Predicts when servers with a limit of connections refuse clients; pure.

Under a policy that leaves the old owner half open, each event costs slots: the owner keeps
one for a client that has gone, and the client takes another one when it comes back. The
clients' source ports follow from the seed, also those of their reconnects, and the switches'
hash can be computed. So can the slots.

What is assumed: every client that moved has sent something, and come back, before the next
event, and clients come back in the order of their numbers. In another order some get another
of the last slots: the sum differs by a few. An owner sends nothing to a client that has gone;
if it did, and the tables led to it again, the client's reset would free it: then fewer slots
are held than predicted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controller.pipeline.cluster_state import ClusterState
from controller.policies.promise import Promise
from experiments.analysis.balance import forecast_of
from experiments.display.render import console
from experiments.prediction.predict import split_evenly
from experiments.spec.run_spec import RunSpec
from experiments.workloads import WORKLOADS
from nodes.clients.client_ports import seeded_ports
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import Forecast
from topologies.domain.plan import client_address, vip

_FREES = frozenset((Promise.FREES_OWNERS, Promise.FREES_THE_SILENT))


class SlotUse(NamedTuple):
    """The slots after an instant of events, when every client has come back that can.

    ``live``: by node, connections with a client. ``left``: those whose client has gone.
    ``refused``: attempts to connect that found their node full, in this step.
    ``without``: clients that have no connection, because no node has a slot for them.
    """

    live: Counter[str]
    left: Counter[str]
    refused: int
    without: int

    def to_json(self) -> dict[str, Any]:
        """The same, as an object."""
        nodes = {"live": dict(self.live), "left": dict(self.left)}
        return {**nodes, "refused": self.refused, "without": self.without}


@dataclass
class Session:
    """One connection of a client: the source ports that it will use, and where it is."""

    ports: Iterator[FourTuple]
    connection: FourTuple | None = None
    node: str | None = None


@dataclass
class _Cluster:
    """The slots of every node, and the clients."""

    limit: int
    sessions: list[Session]
    left: Counter[str] = field(default_factory=Counter)

    def live(self) -> Counter[str]:
        """Connections with a client, by node."""
        return Counter(each.node for each in self.sessions if each.node is not None)

    def lose(self, nodes: set[str]) -> None:
        """Those nodes lose power, and with it every connection."""
        for node in nodes:
            self.left.pop(node, None)
        for each in self.sessions:
            if each.node in nodes:
                each.node = None

    def move(self, where: Forecast, frees: bool) -> None:
        """Clients that moved are reset; their owners keep their slots, or are freed."""
        for each in self.sessions:
            if each.node is None or each.connection is None:
                continue
            if where.owner_of(each.connection) != each.node:
                self.left[each.node] += not frees
                each.node = None

    def settle(self, where: Forecast) -> SlotUse:
        """Every client without a connection comes back, if there is a slot for it."""
        serving = [name for nodes in where.members.values() for name in nodes]
        used, refused = self.left + self.live(), 0
        for each in self.sessions:
            while each.node is None and any(used[n] < self.limit for n in serving):
                each.connection = next(each.ports)
                node = where.owner_of(each.connection)
                if node is not None and used[node] < self.limit:
                    each.node = node
                    used[node] += 1
                else:
                    refused += 1
        without = sum(each.node is None for each in self.sessions)
        return SlotUse(self.live(), Counter(self.left), refused + without, without)


def slot_uses(spec: RunSpec) -> list[SlotUse] | None:
    """The slots when all clients have opened, and after each instant of events.

    None if the spec has no limit, or if its policy does not reset every client that moved.
    """
    limit, states = spec.servers.slots, spec.states()
    policy = states[0].policy
    resets = Promise.RESETS_WHO_SPOKE in policy.promises
    if limit is None or not resets or policy.preserves_moved:
        return None
    frees = spec.healing or not policy.promises.isdisjoint(_FREES)
    cluster = _Cluster(limit, list(sessions(spec)))
    uses = [cluster.settle(forecast_of(states[0]))]
    for before, after in itertools.pairwise(states):
        where = forecast_of(after)
        cluster.lose(_powered(before) - _powered(after))
        cluster.move(where, frees)
        uses.append(cluster.settle(where))
    return uses


def first_refusal(uses: list[SlotUse]) -> int | None:
    """The number of the first instant of events after which a client is refused, from 1.

    0: when they open. None: no client is refused.
    """
    return next((number for number, use in enumerate(uses) if use.refused), None)


def predicted(spec: RunSpec) -> dict[str, Any] | None:
    """The figures of ``harm.slots.predicted`` in ``summary.json``; None: see
    :func:`slot_uses`."""
    uses = slot_uses(spec)
    if uses is None:
        return None
    return {
        "held_by_nobody": sum(uses[-1].left.values()),
        "first_refusal": first_refusal(uses),
        "without_connection": uses[-1].without,
    }


def print_slots(spec: RunSpec) -> None:
    """A line for each instant of events: slots of nobody, and who is refused."""
    uses = slot_uses(spec)
    if uses is None:
        return
    first, out = first_refusal(uses), console()
    out.print(f"slots: {spec.servers.slots} on each node; what clients leave behind:")
    for number, use in enumerate(uses):
        when = f"after {number}" if number else "before"
        refused = " · the first client is refused" if number == first else ""
        without = f" · {use.without} clients find no slot" if use.without else ""
        held = sum(use.left.values())
        out.print(f"  {when:8} {held:4} slots of nobody{refused}{without}")


def sessions(spec: RunSpec) -> Iterator[Session]:
    """Every connection of every client, with its ports in the order of their use
    (:class:`~nodes.clients.client_ports.SourcePorts`)."""
    clients = spec.plan().clients
    port, target = WORKLOADS[spec.workload.kind].port, vip(spec.ip)
    shares = split_evenly(spec.workload.connections, len(clients))
    for client, share in zip(clients, shares, strict=True):
        order = seeded_ports(spec.seed, client.name)
        address = client_address(client, spec.ip)
        for number in range(share):
            ports = itertools.cycle(order[number :: share + 1])
            yield Session(FourTuple(address, source, target, port) for source in ports)


def _powered(state: ClusterState) -> set[str]:
    return {
        node.name
        for chassis in state.plan.chassis
        for node in state.membership.powered_nodes(chassis)
    }
