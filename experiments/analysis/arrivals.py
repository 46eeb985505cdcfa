"""Compares where clients' segments arrive with the predicted owners: pure.

Between events every segment of a client must arrive at the node that the hash predicts,
and at no other, whether that node has a socket for it or not. During an event, from its
request until the datapath has settled, the old and the new owner are both correct. The
same holds for segments that were in flight between the tiers at that instant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from experiments.analysis.epochs import IN_FLIGHT_NS, EpochTimeline
from experiments.analysis.observations import Observation
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC, RELAY_MAC


@dataclass(frozen=True)
class Arrivals:
    """How many connections were compared; each counts once between two events.

    ``mismatched``: connections with a segment that reached another node than predicted,
    each with that node, so that the cause can be found.
    """

    compared: int
    mismatched: frozenset[tuple[FourTuple, str]]


def arrivals(
    observations: Iterable[Observation], timeline: EpochTimeline, nodes: Collection[str]
) -> Arrivals:
    """Compares every segment that arrived at a node, except fan-out copies and relayed resets.

    ``nodes``: the labels of storage nodes. Not for policies that redirect segments from
    node to node or pin connections in a table: there the hash alone does not decide
    where they arrive.
    """
    compared: set[tuple[int, FourTuple]] = set()
    mismatched: set[tuple[FourTuple, str]] = set()
    for segment in observations:
        if (
            segment.outgoing
            or segment.label not in nodes
            or segment.eth_src in (FANOUT_MAC, RELAY_MAC)
        ):
            continue
        epoch, connection = timeline.at(segment.time_ns), segment.connection
        if connection is None or segment.time_ns <= epoch.settled_ns + IN_FLIGHT_NS:
            continue
        compared.add((epoch.start_ns, connection))
        if epoch.owner_of(connection) != segment.label:
            mismatched.add((connection, segment.label))
    return Arrivals(len(compared), frozenset(mismatched))
