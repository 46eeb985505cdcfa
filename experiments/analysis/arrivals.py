"""Prediction held against the wire: did each connection's segments reach its owner: pure.

Between events every segment of a client must arrive at the node that the hash foretells,
and at no other, whether that node knows the connection or not. While an event is under
way, from its request until the datapath has settled, old and new owner are both right,
and so they are for what was on its way between the tiers at that instant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from experiments.analysis.epochs import IN_FLIGHT_NS, EpochTimeline
from experiments.analysis.observations import Observation
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC


@dataclass(frozen=True)
class Arrivals:
    """Connections that were compared, a connection counted once between two events.

    ``mismatched`` are those of which a segment reached a node that was not foretold, each
    with the node: for whoever has to find out why.
    """

    compared: int
    mismatched: frozenset[tuple[FourTuple, str]]


def arrivals(
    observations: Iterable[Observation], timeline: EpochTimeline, nodes: Collection[str]
) -> Arrivals:
    """Every segment that came in at a node, fan-out copies aside, and its owner then.

    ``nodes`` are the labels of storage nodes. Not for designs in which segments are
    passed on from node to node, or pinned in a table: there the hash alone does not
    say who gets them.
    """
    compared: set[tuple[int, FourTuple]] = set()
    mismatched: set[tuple[FourTuple, str]] = set()
    for one in observations:
        if one.outgoing or one.label not in nodes or one.eth_src == FANOUT_MAC:
            continue
        epoch, connection = timeline.at(one.time_ns), one.connection
        if connection is None or one.time_ns <= epoch.settled_ns + IN_FLIGHT_NS:
            continue
        compared.add((epoch.start_ns, connection))
        if epoch.owner_of(connection) != one.label:
            mismatched.add((connection, one.label))
    return Arrivals(len(compared), frozenset(mismatched))
