"""The trail of every "not recognised" reset through the two tiers: pure.

A reset and the copies made of it carry the same sequence and acknowledgment numbers, so
connection, sequence and acknowledgment name one trail. A client that repeats a segment
word for word draws a reset word for word alike: such a trail holds several of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from experiments.analysis.observations import Observation
from experiments.analysis.outcomes import is_stray_candidate
from topologies.domain.connection import VIPS, FourTuple
from topologies.domain.plan import FANOUT_MAC, Plan

Seen = list[Observation]


class TrailKey(NamedTuple):
    """What a reset and its copies have in common."""

    connection: FourTuple
    seq: int
    ack: int


@dataclass
class Trail:
    """All that was seen of one reset, each list in the order of time.

    ``strays`` drew it at ``node`` (E1); ``resets`` left the node, ``arrivals`` reached
    the fabric, ``client_copies`` left it to the client (E2); ``tier1`` left it to each
    chassis (E4, by chassis name) and ``uplinks`` arrived there; ``tier2`` arrived at
    each node (E5, by node name); ``misdirected`` are copies seen where none belongs.
    """

    key: TrailKey
    node: str = ""
    strays: Seen = field(default_factory=list)
    resets: Seen = field(default_factory=list)
    arrivals: Seen = field(default_factory=list)
    client_copies: Seen = field(default_factory=list)
    tier1: dict[str, Seen] = field(default_factory=lambda: defaultdict(list))
    uplinks: dict[str, Seen] = field(default_factory=lambda: defaultdict(list))
    tier2: dict[str, Seen] = field(default_factory=lambda: defaultdict(list))
    misdirected: Seen = field(default_factory=list)

    @property
    def connection(self) -> FourTuple:
        """The connection that the reset is about."""
        return self.key.connection

    @property
    def first_ns(self) -> int:
        """When the first part of it was seen, its strays aside."""
        return min(one.time_ns for one in self.parts())

    def parts(self) -> Seen:
        """Every reset and copy of it, as they come."""
        by_place = (*self.tier1.values(), *self.uplinks.values(), *self.tier2.values())
        return [
            *self.resets,
            *self.arrivals,
            *self.client_copies,
            *(one for seen in by_place for one in seen),
            *self.misdirected,
        ]


@dataclass(frozen=True)
class Places:
    """What each label of a capture is, in a cluster: names of its owner."""

    nodes: Mapping[str, str]  # label -> chassis name
    uplinks: Mapping[str, str]  # label -> chassis name
    chassis_ports: Mapping[str, str]  # label -> chassis name
    client_ports: Mapping[str, str]  # label -> client name

    @classmethod
    def of(cls, plan: Plan) -> Places:
        """The labels that :func:`experiments.record.capture_points.capture_points` gives."""
        return cls(
            {node.name: f"c{node.chassis}" for node in plan.nodes},
            {c.uplink_interface: c.name for c in plan.chassis},
            {c.fabric_interface: c.name for c in plan.chassis},
            {c.fabric_interface: c.name for c in plan.clients},
        )


def reset_trails(observations: Iterable[Observation], places: Places) -> list[Trail]:
    """Every trail, by its first time. ``observations`` are in the order of time."""
    trails: dict[TrailKey, Trail] = {}
    strays: dict[tuple[FourTuple, str], Seen] = defaultdict(list)
    nodes = frozenset(places.nodes)
    for one in observations:
        connection = one.connection
        if connection is None:
            continue
        if one.eth_src == FANOUT_MAC or (one.not_recognised and one.src in VIPS):
            key = TrailKey(connection, one.seq, one.ack)
            _place(trails.setdefault(key, Trail(key)), one, places)
        elif is_stray_candidate(one, nodes):
            strays[connection, one.label].append(one)
    found = [trail for trail in trails.values() if trail.parts()]
    for trail in found:
        trail.strays = [
            stray
            for stray in strays[trail.connection, trail.node]
            if _draws(stray, trail.key)
        ]
    return sorted(found, key=lambda trail: trail.first_ns)


def _draws(stray: Observation, key: TrailKey) -> bool:
    """Whether that segment's reset has that key (RFC 9293, 3.10.7.1: SEQ=SEG.ACK).

    The guard adds SEG.SEQ as the acknowledgment number; a kernel leaves it 0.
    """
    return stray.ack == key.seq and key.ack in (0, stray.seq)


def _place(trail: Trail, one: Observation, places: Places) -> None:
    if one.eth_src == FANOUT_MAC:
        _place_copy(trail, one, places)
    elif one.label in places.nodes and one.outgoing:
        trail.resets.append(one)
        trail.node = trail.node or one.label
    elif one.label in places.chassis_ports and not one.outgoing:
        trail.arrivals.append(one)
    elif one.label in places.client_ports and one.outgoing:
        trail.client_copies.append(one)


def _place_copy(trail: Trail, one: Observation, places: Places) -> None:
    if one.label in places.chassis_ports and one.outgoing:
        trail.tier1[places.chassis_ports[one.label]].append(one)
    elif one.label in places.uplinks and not one.outgoing:
        trail.uplinks[places.uplinks[one.label]].append(one)
    elif one.label in places.nodes and not one.outgoing:
        trail.tier2[one.label].append(one)
    else:
        trail.misdirected.append(one)
