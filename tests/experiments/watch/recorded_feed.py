"""Views of a cluster that exists on paper only: scripted socket events and readings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controller.balancers import BALANCERS
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.record.socket_events import (
    RESET_RECEIVED,
    STATE,
    SocketEvent,
)
from experiments.watch.connection_tally import ConnectionTally
from experiments.watch.rates import Rates
from experiments.watch.seen_resets import SeenResets
from experiments.watch.view import Seen, add_totals, view_of
from topologies.domain.connection import FourTuple
from topologies.domain.events import EVENTS
from topologies.domain.forecast import forecast
from topologies.domain.membership import Membership
from topologies.domain.plan import VIP4, Plan

SERVED = (VIP4, 10809)
START_S = 1_790_000_000.0


def connection(port: int, client: int = 1) -> FourTuple:
    """A connection of that client, from that port."""
    return FourTuple(f"10.1.0.{client}", port, *SERVED)


def event(
    host: str, of: FourTuple, change: str, at_ms: float = 0.0, address: int = 0
) -> SocketEvent:
    """``change``: "OLD>NEW", or a kind of event."""
    ends = (of.src, of.sport), (of.dst, of.dport)
    local, remote = ends if host.startswith("h") else ends[::-1]
    old, arrow, new = change.partition(">")
    kind = STATE if arrow else change
    time_ns = int((START_S + at_ms / 1e3) * 1e9)
    states = (old, new) if arrow else ("", "")
    number = address or hash((host, of)) & 0xFFFFFFFF
    return SocketEvent(time_ns, kind, number, local, remote, *states, host)


def opened(host: str, of: FourTuple, at_ms: float = 0.0) -> list[SocketEvent]:
    """Both ends of a connection that ``host`` owns."""
    client = f"h{of.src.rpartition('.')[2]}"
    return [
        event(client, of, "CLOSE>SYN_SENT", at_ms),
        event(client, of, "SYN_SENT>ESTABLISHED", at_ms),
        event(host, of, "SYN_RECV>ESTABLISHED", at_ms),
    ]


def was_reset(host: str, of: FourTuple, at_ms: float = 0.0) -> list[SocketEvent]:
    """A RST that a host's socket of that connection accepts."""
    return [
        event(host, of, RESET_RECEIVED, at_ms),
        event(host, of, "ESTABLISHED>CLOSE", at_ms),
    ]


class PaperCluster:
    """A cluster of ``plan``; its connections are those of the scripted events."""

    def __init__(self, plan: Plan | None = None, policy: str = "flood") -> None:
        plan = plan or Plan.build()
        members = Membership.all_in_service(plan)
        self.state = ClusterState(
            *(plan, members, POLICIES[policy], BALANCERS["modulo"])
        )
        self.tally = ConnectionTally()
        self.rates = Rates()
        self.resets = SeenResets(self.tally.holders, self.owner_of)
        self.guards: dict[str, dict[str, int]] = {}
        self.tier1: dict[str, int | None] = {one.name: 0 for one in plan.chassis}
        self.message: str | None = None
        self.tally.route(self.owner_of)

    def owner_of(self, of: FourTuple) -> str | None:
        """By the present tables."""
        state = self.state
        routes = forecast(state.plan, state.membership, state.balancer)
        return routes.owner_of(of)

    def see(self, events: Iterable[SocketEvent]) -> None:
        """Events of sockets."""
        for one in events:
            self.resets.apply(one)
            self.tally.apply(one)

    def open(self, *ports: int) -> list[tuple[str, FourTuple]]:
        """Connections from those ports, each at its owner."""
        made = [connection(port) for port in ports]
        owners = [self.owner_of(one) or "" for one in made]
        for owner, one in zip(owners, made, strict=True):
            self.see(opened(owner, one))
        return list(zip(owners, made, strict=True))

    def change(self, kind: str, target: str) -> int:
        """A membership event; returns how many connections it has moved."""
        new = EVENTS[kind].change(self.state.arrangement, target)
        self.state = self.state.becoming(new)
        return self.tally.route(self.owner_of)

    def view(self, at_s: float = 0.0) -> dict[str, Any]:
        """What is shown at that time."""
        hosts = [n.name for n in self.state.plan.nodes]
        hosts += [c.name for c in self.state.plan.clients]
        switches = dict.fromkeys(
            self.state.plan.switches, {"connected": True, "in_sync": True}
        )
        reading = {
            "name": "paper",
            "workload": "nbd",
            "guard": "ebpf",
            "datapath": "netdev",
            "message": self.message,
            "switches": switches,
            "guards": self.guards,
            "guards_s": START_S + at_s,
            "tier1": self.tier1,
            "tier1_s": START_S + at_s,
        }
        seen = Seen(
            *(self.state, reading, self.tally, self.rates, hosts),
            self.resets.of_client,
            self.resets.published(),
        )
        add_totals(seen, START_S + at_s)
        return view_of(seen)
