"""The trace of every "not recognised" reset through the two tiers: pure.

A reset and its copies carry the same sequence and acknowledgment numbers. So connection,
sequence number and acknowledgment number identify one trace. An identical retransmission
of a stray causes an identical reset: such a trace holds several of each.
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

Segments = list[Observation]


class ResetKey(NamedTuple):
    """What a reset and its copies have in common."""

    connection: FourTuple
    seq: int
    ack: int


@dataclass
class ResetTrace:
    """All captured segments of one reset, each list in the order of time.

    ``strays`` caused it at ``node`` (E1). ``resets`` left the node, ``arrivals`` reached
    the fabric, ``client_copies`` left the fabric to the client (E2). ``tier1`` left the
    fabric to each chassis (E4, by chassis name), ``uplinks`` arrived there. ``tier2``
    arrived at each node (E5, by node name). ``unexpected``: copies at other places.
    """

    key: ResetKey
    node: str = ""
    strays: Segments = field(default_factory=list)
    resets: Segments = field(default_factory=list)
    arrivals: Segments = field(default_factory=list)
    client_copies: Segments = field(default_factory=list)
    tier1: dict[str, Segments] = field(default_factory=lambda: defaultdict(list))
    uplinks: dict[str, Segments] = field(default_factory=lambda: defaultdict(list))
    tier2: dict[str, Segments] = field(default_factory=lambda: defaultdict(list))
    unexpected: Segments = field(default_factory=list)

    @property
    def connection(self) -> FourTuple:
        """The connection that the reset is about."""
        return self.key.connection

    @property
    def first_ns(self) -> int:
        """The time of its first segment, not counting the strays."""
        return min(segment.time_ns for segment in self.parts())

    def parts(self) -> Segments:
        """The reset and its copies, in no order."""
        by_place = (*self.tier1.values(), *self.uplinks.values(), *self.tier2.values())
        return [
            *self.resets,
            *self.arrivals,
            *self.client_copies,
            *(segment for segments in by_place for segment in segments),
            *self.unexpected,
        ]


@dataclass(frozen=True)
class PortRoles:
    """What each label of a capture is in the cluster."""

    nodes: Mapping[str, str]  # label -> chassis name
    uplinks: Mapping[str, str]  # label -> chassis name
    chassis_ports: Mapping[str, str]  # label -> chassis name
    client_ports: Mapping[str, str]  # label -> client name

    @classmethod
    def of(cls, plan: Plan) -> PortRoles:
        """The labels that :func:`experiments.record.capture_points.capture_points` gives."""
        return cls(
            {node.name: f"c{node.chassis}" for node in plan.nodes},
            {c.uplink_interface: c.name for c in plan.chassis},
            {c.fabric_interface: c.name for c in plan.chassis},
            {c.fabric_interface: c.name for c in plan.clients},
        )


def find_reset_traces(
    observations: Iterable[Observation], roles: PortRoles
) -> list[ResetTrace]:
    """Every trace, sorted by its first time. ``observations``: in the order of time."""
    traces: dict[ResetKey, ResetTrace] = {}
    strays: dict[tuple[FourTuple, str], Segments] = defaultdict(list)
    nodes = frozenset(roles.nodes)
    for segment in observations:
        connection = segment.connection
        if connection is None:
            continue
        is_reset = segment.not_recognised and segment.src in VIPS
        if segment.eth_src == FANOUT_MAC or is_reset:
            key = ResetKey(connection, segment.seq, segment.ack)
            _place(traces.setdefault(key, ResetTrace(key)), segment, roles)
        elif is_stray_candidate(segment, nodes):
            strays[connection, segment.label].append(segment)
    with_parts = [trace for trace in traces.values() if trace.parts()]
    for trace in with_parts:
        trace.strays = [
            stray
            for stray in strays[trace.connection, trace.node]
            if _causes(stray, trace.key)
        ]
    return sorted(with_parts, key=lambda trace: trace.first_ns)


def _causes(stray: Observation, key: ResetKey) -> bool:
    """Whether the reset for that segment has that key (RFC 9293, 3.10.7.1: SEQ=SEG.ACK).

    The guard adds SEG.SEQ as the acknowledgment number; a kernel leaves it 0.
    """
    return stray.ack == key.seq and key.ack in (0, stray.seq)


def _place(trace: ResetTrace, segment: Observation, roles: PortRoles) -> None:
    if segment.eth_src == FANOUT_MAC:
        _place_copy(trace, segment, roles)
    elif segment.label in roles.nodes and segment.outgoing:
        trace.resets.append(segment)
        trace.node = trace.node or segment.label
    elif segment.label in roles.chassis_ports and not segment.outgoing:
        trace.arrivals.append(segment)
    elif segment.label in roles.client_ports and segment.outgoing:
        trace.client_copies.append(segment)


def _place_copy(trace: ResetTrace, segment: Observation, roles: PortRoles) -> None:
    if segment.label in roles.chassis_ports and segment.outgoing:
        trace.tier1[roles.chassis_ports[segment.label]].append(segment)
    elif segment.label in roles.uplinks and not segment.outgoing:
        trace.uplinks[roles.uplinks[segment.label]].append(segment)
    elif segment.label in roles.nodes and not segment.outgoing:
        trace.tier2[segment.label].append(segment)
    else:
        trace.unexpected.append(segment)
