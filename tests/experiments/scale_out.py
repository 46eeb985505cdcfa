"""A run in the model: connections open, an event moves some, and these send strays."""

from __future__ import annotations

from dataclasses import dataclass

from controller.balancers import BALANCERS
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.analysis.claim import Case, ClaimChart, ClaimRow, cases_of
from experiments.analysis.epochs import Epoch, EpochTimeline
from experiments.analysis.limited import with_limited
from experiments.analysis.observations import Observation, is_syn_ack
from experiments.analysis.outcomes import (
    Outcome,
    connection_outcomes,
    is_stray_candidate,
)
from experiments.analysis.reset_traces import PortRoles, ResetTrace, find_reset_traces
from experiments.analysis.socket_states import SocketLifetime, socket_lifetimes
from tests.experiments.packet_path import CLIENT, MS, START, PacketPath
from topologies.domain.connection import FourTuple
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import VIP4, Plan

EVENT = 500 * MS
SETTLED = 510 * MS
END = 3000 * MS
PORT = 10809


@dataclass
class ScaleOut:
    """The model of one run: by default before and after ``c1nX`` came into service."""

    path: PacketPath
    timeline: EpochTimeline
    moved: list[FourTuple]
    stayed: list[FourTuple]

    @classmethod
    def build(
        cls,
        chassis: int = 2,
        nodes: int = 3,
        connections: int = 12,
        policy: str = "flood",
    ) -> ScaleOut:
        """Every connection opened at its owner, and the moved ones reset by the claim.

        ``policy`` ``drop``: strays get no answer; ``client-only``: no copies.
        """
        plan = Plan.build(chassis, nodes, 1)
        new = plan.chassis[0].nodes[-1].name
        full = Membership.all_in_service(plan)
        without = full.with_node(new, NodeState.FAILED)
        return cls.between(plan, (without, full), connections, policy)

    @classmethod
    def cut_off(cls, connections: int = 40, policy: str = "flood") -> ScaleOut:
        """The same, but ``c2`` of three chassis is cut off at the event, and what it
        held is freed by nobody."""
        plan = Plan.build(3, 2, 1)
        full = Membership.all_in_service(plan)
        return cls.between(
            plan, (full, full.with_chassis_cut_off("c2")), connections, policy
        )

    @classmethod
    def uplink_returns(cls, connections: int = 40) -> ScaleOut:
        """``c2`` of three chassis was cut off, and is reached again from the event on."""
        plan = Plan.build(3, 2, 1)
        full = Membership.all_in_service(plan)
        return cls.between(
            plan, (full.with_chassis_cut_off("c2"), full), connections, "flood"
        )

    @classmethod
    def between(
        cls,
        plan: Plan,
        members: tuple[Membership, Membership],
        connections: int,
        policy: str,
    ) -> ScaleOut:
        """The model of one event that leads from the first membership to the second."""
        before, after = (
            ClusterState(plan, one, POLICIES[policy], BALANCERS["modulo"])
            for one in members
        )
        timeline = EpochTimeline(
            [
                Epoch.of(before),
                Epoch.of(after, (START + EVENT) / 1e9, (START + SETTLED) / 1e9),
            ]
        )
        run = cls(PacketPath(plan), timeline, [], [])
        for port in range(20001, 20001 + connections):
            run._live(FourTuple(CLIENT.ipv4, port, VIP4, PORT), policy)
        return run

    def _live(self, connection: FourTuple, policy: str) -> None:
        old, new = (epoch.owner_of(connection) for epoch in self.timeline.epochs)
        assert old is not None
        assert new is not None
        number = connection.sport - 20000
        self.path.open(connection, old, number * MS)
        self.path.data(connection, old, 200 * MS + number * MS)
        (self.stayed if new == old else self.moved).append(connection)
        at = 600 * MS + number * MS
        if new == old or policy == "drop":
            self.path.data(connection, new, at)
            return
        copies = dict(self.reachable) if policy == "flood" else {}
        self.path.reset(connection, new, at, copies)
        if policy == "flood" and old not in self.timeline.epochs[-1].cut_off:
            self.path.freed(connection, old, at + MS)

    @property
    def reachable(self) -> dict[str, frozenset[str]]:
        """Chassis -> nodes that take copies after the event."""
        return dict(self.timeline.epochs[-1].reachable)

    @property
    def lifetimes(self) -> list[SocketLifetime]:
        """Every socket."""
        return socket_lifetimes(self.path.socket_events())

    def outcomes(self) -> list[Outcome]:
        """The outcome of each connection."""
        nodes = {node.name for node in self.path.plan.nodes}
        answers = [o for o in self.path.observations() if is_syn_ack(o, nodes)]
        outcomes = connection_outcomes(
            self.lifetimes, self.timeline, self.strays(), START + END, answers
        )
        return with_limited(outcomes, self.path.observations(), self.traces())

    def strays(self) -> list[Observation]:
        """The strays, with the frame numbers of the whole capture."""
        nodes = frozenset(node.name for node in self.path.plan.nodes)
        return [o for o in self.path.observations() if is_stray_candidate(o, nodes)]

    def traces(self) -> list[ResetTrace]:
        """The trace of each reset."""
        return find_reset_traces(self.path.observations(), PortRoles.of(self.path.plan))

    def cases(self) -> list[Case]:
        """The input of the claim chart."""
        return cases_of(self.outcomes(), self.traces())

    def chart(self) -> dict[str, ClaimRow]:
        """Its rows by element."""
        chart = ClaimChart(self.timeline, PortRoles.of(self.path.plan))
        rows = chart.rows(self.outcomes(), self.traces(), START + END)
        return {row.element: row for row in rows}
