"""A whole cluster in memory: clients, switches, nodes with guards, a healer, and a wire.

Switches are the product's flow entries, walked through by ``tests/controller/flow_table``.
What is under way arrives when the test says so: late, twice, in another order or never.
The world judges each end of a connection as it ends (:meth:`World.ended`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.flows.entries import Field
from controller.pipeline.cluster_state import ClusterState
from controller.policies.questions import OnStray
from experiments.healing.route_history import RouteHistory
from experiments.healing.schedule import SAME, Held
from nodes.guard.budget import Budget, Limit, Purse
from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import RECENT_S, Action, Mode, destination_to_pass_on
from tests.controller.clusters import state as state_of
from tests.controller.flow_table import Network
from tests.controller.frames import number as mac_number
from tests.controller.frames import tcp
from tests.histories.guarded_node import GuardedNode, Said
from tests.histories.simulated_healer import POLL_S, SimulatedHealer
from tests.histories.tcp_ends import End, State, Violation, refuse
from topologies.domain.arrangement import Arrangement
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import owner
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP_MAC,
    Plan,
    client_address,
)

PLAN = Plan.build(chassis=2, nodes=2, clients=1)
(H1,) = PLAN.clients
PORT = 10809
#: The bound of healing, in seconds.
BOUND_S = 2.0
#: Small, so that it is often used up.
BUDGET = Budget(client=Limit(1.0, 2.0), total=Limit(1.5, 3.0))
#: Nothing is under way for longer, in seconds; a guard remembers for as long.
IN_FLIGHT_S = RECENT_S
#: At the end of the bound: the poll at which a change is noticed, and one at each look.
SLACK_S = 4 * POLL_S

_COPY, _RELAY, _LAST = map(mac_number, (FANOUT_MAC, RELAY_MAC, SECOND_CHANCE_MAC))
_MODES = {OnStray.RESET: Mode.ANSWER, OnStray.REDIRECT: Mode.PASS_ON}


def _turned(segment: Segment) -> Segment:
    """With its addresses swapped."""
    there, back = (segment.src, segment.sport), (segment.dst, segment.dport)
    return replace(segment, src=back[0], sport=back[1], dst=there[0], dport=there[1])


class Flight(NamedTuple):
    """A segment on its last way, to ``place``; of connection ``number``, by ``by``."""

    place: str
    segment: Segment
    mac: str
    number: int
    by: str
    sent_s: float


@dataclass
class World:
    """``removed``: checks that are taken away (:mod:`tests.histories.removed_checks`)."""

    policy: str
    balancer: str
    removed: frozenset[str] = frozenset()
    now_s: float = 100.0
    clients: dict[int, End] = field(default_factory=dict)
    #: All that have ever been used.
    ports: set[int] = field(default_factory=set)
    wire: list[Flight] = field(default_factory=list)
    #: Connections whose route has changed since they began.
    touched: set[int] = field(default_factory=set)
    #: Connections that their own servers have aborted: a delayed SYN may bring back a server's
    #: end of the same number, which is not the one that the client had.
    aborted: set[int] = field(default_factory=set)
    #: Connections of which a segment was heard that an earlier route had delayed.
    late: set[int] = field(default_factory=set)
    #: When the client's end was gone, and when the route last changed, also of a port.
    gone_s: dict[int, float] = field(default_factory=dict)
    changed_s: dict[int, float] = field(default_factory=dict)
    #: What has arrived at nodes lately, and may arrive once more.
    past: deque[Flight] = field(default_factory=lambda: deque(maxlen=16))
    past_resets: deque[Flight] = field(default_factory=lambda: deque(maxlen=8))
    #: How often switches were made to send copies to the nodes.
    fan_outs: int = 0
    #: Port -> the server's next number in its last connection.
    _server_nxt: dict[int, int] = field(default_factory=dict)
    #: Connection -> its server's initial number, where it is not any.
    _server_iss: dict[int, int] = field(default_factory=dict)
    #: Whether the client's host has power.
    there: bool = True
    _condemned: tuple[Held, ...] = ()

    def __post_init__(self) -> None:
        """All in service."""
        everybody = Membership.all_in_service(PLAN)
        fresh = state_of(everybody, self.policy, self.balancer, PLAN)
        self.state: ClusterState = replace(fresh, healing=True)
        self.states = [self.state]
        self.began_s = self.now_s
        self.purse = Purse(BUDGET)
        self.healer = self.new_healer()
        self.nodes: dict[str, GuardedNode] = {}
        self._numbers = 0
        self._connect()

    # --------------------------------------------------------------------- clients

    def open(self, sport: int, iss: int, *, near_server: bool = False) -> None:
        """A client's port, which has no connection, opens one. ``near_server``: the server's
        numbers will be near to those of the last one."""
        self._numbers += 1
        self.ports.add(sport)
        # The healer sees a change later, and trusts nothing right after it.
        if self.now_s - self.changed_s.get(sport, 0.0) <= SAME * BOUND_S:
            self.touched.add(self._numbers)
        if near_server and sport in self._server_nxt:
            self._server_iss[self._numbers] = self._server_nxt[sport] - 100
        start = (iss + 1) % (1 << 32)
        key = self.key(sport)
        end = End(self._numbers, key, False, State.SYN_SENT, start, start)
        self.clients[sport] = end
        self._send_from_client(end.opening(), end.number, VIP_MAC)

    def speak(self, sport: int, length: int) -> None:
        """The client sends data, or its SYN once more."""
        end = self.clients[sport]
        is_open = end.state is State.ESTABLISHED
        said = end.send(length) if is_open else end.opening()
        self._send_from_client(said, end.number, VIP_MAC)

    def abort(self, sport: int) -> None:
        """The client's program aborts."""
        end = self.clients[sport]
        was_open = end.state is State.ESTABLISHED
        said = end.abort()
        self._forget(sport)
        if was_open:
            self._send_from_client(said, end.number, VIP_MAC)

    def vanish(self) -> None:
        """The client's host loses its power, and all connections."""
        self.there = False
        for sport in list(self.clients):
            self._forget(sport)

    def key(self, sport: int) -> FourTuple:
        """The connection of that port."""
        return FourTuple(client_address(H1, 4), sport, VIP4, PORT)

    def _forget(self, sport: int) -> None:
        end = self.clients.pop(sport, None)
        if end is not None:
            self._server_nxt[sport] = end.rcv
            self.gone_s[end.number] = self.now_s

    def _send_from_client(self, said: Segment, number: int, mac: str) -> None:
        if self.there:
            self._send(H1.name, said, H1.mac, mac, number, "client")

    def server_speaks(self, sport: int, length: int) -> None:
        """Each server that has an open connection of that port sends data."""
        for node, end in self._open_at_servers(sport):
            for said in list(node.leave(end, end.send(length), end.number, self.now_s)):
                self._say(node, said)

    def server_aborts(self, sport: int) -> None:
        """Each of them aborts it."""
        for node, end in self._open_at_servers(sport):
            self.aborted.add(end.number)
            for said in list(node.close(self.key(sport), self.now_s)):
                self._say(node, said)

    def _open_at_servers(self, sport: int) -> list[tuple[GuardedNode, End]]:
        found = [(n, n.sockets.get(self.key(sport))) for n in self.nodes.values()]
        return [(n, e) for n, e in found if e and e.state is State.ESTABLISHED]

    # ----------------------------------------------------------------------- events

    def change(self, new: Arrangement) -> None:
        """Another state of the cluster."""
        before = self._routes()
        self.state = self.state.becoming(new)
        self.states.append(self.state)
        self._connect()
        for which, route in self._routes().items():
            if before[which] != route:
                self.touched.add(which[0])
                self.changed_s[which[0]] = self.now_s
        # Of connections that only a delayed segment could still bring back.
        self.touched |= {flight.number for flight in self.wire}

    def new_healer(self) -> SimulatedHealer:
        """One that was started now. What it does not know counts as changed now."""
        healer = SimulatedHealer(BOUND_S)
        if "return" in self.removed:
            healer.changed_s = lambda *_: None
        return healer

    def restart_healer(self) -> None:
        """It is killed and started again: every change that it reads is new to it."""
        self.healer = self.new_healer()
        history = RouteHistory()
        history.add(self.state, self.now_s)
        for node in self.nodes.values():
            for key, end in node.sockets.items():
                if history.changed_s(node.name, key) is not None:
                    self.touched.add(end.number)
        # As after a change: it trusts no connection that begins right now on such a port.
        for sport in self.ports:
            at = self.owner_of(self.key(sport))
            if at is not None and history.changed_s(at, self.key(sport)) is not None:
                self.changed_s[sport] = self.now_s
                if sport in self.clients:  # its SYN may be under way still
                    self.touched.add(self.clients[sport].number)

    def reachable(self) -> frozenset[str]:
        """The nodes that packets reach."""
        membership = self.state.membership
        return frozenset(
            node.name
            for chassis in membership.reachable_chassis(self.state.plan)
            for node in membership.reachable_nodes(chassis)
        )

    def owner_of(self, key: FourTuple) -> str | None:
        """The node of its bucket."""
        of = self.state
        return owner(of.plan, of.membership, of.balancer, key)

    # ------------------------------------------------------------------ time and wire

    def pass_time(self, seconds: float) -> None:
        """Time goes by, and the healer works; what is under way stays under way."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(until_s, self.now_s + POLL_S)
            self._heal()

    def arrive(self, position: int, *, again: bool = False) -> None:
        """One that is under way arrives; ``again``: and will once more."""
        flight = self.wire[position] if again else self.wire.pop(position)
        if self.now_s - flight.sent_s > IN_FLIGHT_S:
            return
        if flight.place == H1.name:
            self._at_client(flight)
        elif flight.place in self.nodes and flight.place in self.reachable():
            self.past.append(flight)
            if flight.segment.flags & Flags.RST:
                self.past_resets.append(flight)
            self._at_node(flight)

    def arrive_late(self, position: int, is_reset: bool) -> None:
        """One that has arrived at a node does so again."""
        past = self.past_resets if is_reset else self.past
        if past:
            self.wire.insert(0, past[position % len(past)])
            self.arrive(0)

    def all_arrive(self) -> None:
        """Everything under way arrives, and what it causes."""
        for _ in range(1000):
            if not self.wire:
                return
            self.arrive(0)
        raise Violation("segments cause segments without end")

    def wait_for_healer(self) -> None:
        """Until it has decided to destroy something, and not longer than the bound."""
        until_s = self.now_s + BOUND_S
        while self.now_s < until_s and not self._condemned:
            self.pass_time(POLL_S)

    def turn_fair(self, seconds: float) -> None:
        """Nothing is lost or late any more, and clients repeat what has no answer."""
        until_s = self.now_s + seconds
        repeat_s = self.now_s
        while self.now_s < until_s:
            self.all_arrive()
            if self.now_s >= repeat_s:
                repeat_s = self.now_s + 4 * POLL_S
                for end in list(self.clients.values()):
                    said = end.again()
                    if said is not None:
                        self._send_from_client(said, end.number, VIP_MAC)
            self.pass_time(POLL_S)

    def _at_client(self, flight: Flight) -> None:
        got = flight.segment
        if not self.there:
            return
        end = self.clients.get(got.dport)
        if end is None:
            refusal = refuse(got)
            if refusal is not None:
                self._send_from_client(refusal, flight.number, VIP_MAC)
            return
        answers = end.take(got, self.now_s)
        if end.state is State.ENDED:
            self._forget(got.dport)
            self.ended(end, flight.number, flight.by)
        for answer in answers:
            of = flight.number if answer.flags & Flags.RST else end.number
            self._send_from_client(answer, of, VIP_MAC)

    def _at_node(self, flight: Flight) -> None:
        node = self.nodes[flight.place]
        changed_s = self.changed_s.get(flight.number)
        if changed_s is not None and flight.sent_s <= changed_s < self.now_s:
            self.late.add(flight.number)
        got, number, by = flight.segment, flight.number, flight.by
        for said in list(node.take(got, number, by, self.now_s)):
            self._say(node, said, flight.mac)

    def _say(self, node: GuardedNode, said: Said, mac: str = "") -> None:
        if node.name not in self.reachable():
            return
        own = self.state.plan.find_node(node.name).mac
        to = GATEWAY_MAC
        if said.onward is Action.RELAY:
            to = RELAY_MAC
        elif said.onward is Action.PASS_ON:
            to = destination_to_pass_on(mac)
        elif mac == SECOND_CHANCE_MAC:
            to = SECOND_CHANCE_MAC  # the answer to a stray that was passed on
        self._send(node.name, said.segment, own, to, said.number, said.by)

    def _send(
        self, host: str, said: Segment, src: str, dst: str, number: int, by: str
    ) -> None:
        if by == "guard" and said.flags == Flags.RST or dst == RELAY_MAC:
            self.fan_outs += 1
        key = FourTuple(said.src, said.sport, said.dst, said.dport)
        frame = tcp(key, src, dst, int(said.flags))
        for place, got in self.switches.delivered(host, frame):
            mac = got[Field.ETH_SRC]
            turned = got[Field.TCP_SRC] != said.sport  # as the fabric's copies are
            segment = replace(
                _turned(said) if turned else said,
                marked=mac == _COPY,
                relayed=mac == _RELAY,
                passed_on=mac == _LAST,
            )
            text = ":".join(f"{mac:012x}"[i : i + 2] for i in range(0, 12, 2))
            self.wire.append(Flight(place, segment, text, number, by, self.now_s))

    def _heal(self) -> None:
        """One step of the healer. What it destroys it has decided a moment before."""
        for one in self._condemned:
            self._destroy(one)
        self._condemned = ()
        if "heal" in self.removed:
            return
        actions = self.healer.step(self.now_s, self.state, self.nodes)
        for one in actions.probe:
            node = self.nodes[one.node]
            asked = node.ask(one.connection)
            if asked is not None:
                number = node.sockets[one.connection].number
                self._say(node, Said(asked, number, "server"))
        if "deadline" not in self.removed:
            self._condemned = actions.destroy

    def _destroy(self, one: Held) -> None:
        node = self.nodes[one.node]
        end = node.sockets.get(one.connection)
        if end is None or (end.number != one.cookie and "cookie" not in self.removed):
            return
        self.ended(end, one.cookie, "healer")
        for said in list(node.close(one.connection, self.now_s)):
            self._say(node, said)

    # ----------------------------------------------------------------------- judging

    def ended(self, end: End, number: int, by: str) -> None:
        """An end was ended on behalf of connection ``number`` by ``by``.

        Raises :class:`Violation` if that was another connection, or if its route has never
        changed, and guards or the healer did it though its other end was there.
        """
        if number != end.number:
            raise Violation(f"{by} meant connection {number}, and ended {end}")
        if number in self.aborted and not end.is_server:
            return
        if by in ("guard", "healer") and number not in self.touched:
            others = self.clients.values() if end.is_server else self._server_ends()
            if any(other.number == number for other in others):
                raise Violation(f"{by} ended {end}, whose route never changed")

    def require_all_freed(self) -> None:
        """After fair weather for the bound: no half-open end is left that healing is for."""
        alive = {end.number for end in self.clients.values()}
        for node in self.nodes.values():
            for key, end in node.sockets.items():
                if end.number in alive or node.name not in self.reachable():
                    continue
                gone_s = self.gone_s.get(end.number, self.began_s)
                changed_s = self.changed_s.get(end.number, -1.0)
                asked = changed_s > gone_s
                if self.owner_of(key) != node.name or (
                    asked and end.number not in self.late
                ):
                    times = f"client gone at {gone_s}, route changed at {changed_s}"
                    raise Violation(f"{node.name} still holds {end}; {times}")

    def require_no_client_hangs(self) -> None:
        """After fair weather every client has its answers, or was reset."""
        for end in self.clients.values():
            if end.una != end.nxt or end.state is not State.ESTABLISHED:
                raise Violation(f"the client still waits: {end}")

    def expire_late_requests(self) -> bool:
        """Ends what delayed SYNs have left at clients' nodes; returns whether there was any.

        Such a SYN is of an earlier connection of the port, or of the same one before its
        server aborted it. The kernel answers all segments for that request, until it expires
        (``tcp_synack_retries``).
        """
        expired = False
        for sport, end in self.clients.items():
            key = self.key(sport)
            node = self.nodes.get(self.owner_of(key) or "")
            there = node.sockets.get(key) if node else None
            if node is None or there is None or there.state is not State.SYN_RECEIVED:
                continue
            if there.number != end.number or end.number in self.aborted:
                del node.sockets[key]
                expired = True
        return expired

    def require_budget(self) -> None:
        """Fan-outs are within the budget: all are of one client."""
        lasted_s = self.now_s - self.began_s
        most = BUDGET.client.burst + BUDGET.client.rate * lasted_s
        if self.fan_outs > most + 1e-6:
            text = f"{self.fan_outs} fan-outs in {lasted_s} s, at most {most}"
            raise Violation(text)

    def _spends(self, client: str) -> bool:
        allowed = self.purse.spend(client, round(self.now_s * 1e9))
        return allowed or "budget" in self.removed

    def _server_ends(self) -> Iterator[End]:
        for node in self.nodes.values():
            yield from node.sockets.values()

    def _routes(self) -> dict[tuple[int, str], object]:
        """Of each end, by its connection and its host: its owner, and whether that host is
        reached (of a client's end: its owner). Of each port, as if it were a connection."""
        reach = self.reachable()
        found: dict[tuple[int, str], object] = {}
        for sport in self.ports:
            name = self.owner_of(self.key(sport))
            found[sport, H1.name] = name, name in reach
            if sport in self.clients:
                found[self.clients[sport].number, H1.name] = name, name in reach
        for node in self.nodes.values():
            for key, end in node.sockets.items():
                found[end.number, node.name] = self.owner_of(key), node.name in reach
        return found

    def _connect(self) -> None:
        """Switches and nodes are those of the state; nodes without power forget all."""
        plan, mode = self.state.plan, _MODES[self.state.policy.on_stray]
        for chassis in plan.chassis:
            powered = self.state.membership.powered_nodes(chassis)
            for node in chassis.nodes:
                fresh = GuardedNode(
                    *(node.name, mode, self._spends, self.ended),
                    *(self.removed, self._server_iss),
                )
                if node not in powered or node.name not in self.nodes:
                    self.nodes[node.name] = fresh
        self.switches = Network(self.state.plan, self.state.tables())
