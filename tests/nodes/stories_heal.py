"""What happens around a guard that heals, in more than one step: each runs in the lab."""

from __future__ import annotations

import contextlib
import socket

from nodes.guard.budget import Budget, Limit
from nodes.guard.guard import GuardCounters
from nodes.guard.request_frame import request_frame
from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import Mode
from nodes.kernel.network_namespace import enter_netns
from tests.nodes.lab import Lab
from tests.nodes.namespace import wait_for
from tests.nodes.packet_states import ACK, RST, Connection, State
from tests.nodes.peer import Peer
from tests.nodes.stories import resets_of, since
from topologies.domain.connection import FourTuple
from topologies.domain.plan import PROBE_MAC


def requests(
    lab: Lab, guard: str, ip: int
) -> tuple[Connection, list[Segment], list[Segment], GuardCounters]:
    """Requests for a keepalive of a connection that the node holds, and of another.

    The connection, what left for it, what left for the other, and the counts.
    """
    lab.use(guard, Mode.ANSWER, healing=True)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.UNACKNOWLEDGED)
    lab.mark(ip)
    before = lab.counters()
    other = peer.tuple._replace(sport=peer.tuple.sport ^ 1)
    for one in (other, peer.tuple):
        _request(lab, one)
    wait_for(lambda: lab.counters().probes > before.probes, "the keepalive")
    # A reference guard does not drop the request itself: no switch admits it.
    caught = [one.segment for one in lab.mark(ip) if one.eth_dst != PROBE_MAC]
    seen = (
        connection,
        [one for one in caught if one.egress_connection == peer.tuple],
        [one for one in caught if one.egress_connection == other],
        since(before, lab.counters(), markers=1),
    )
    peer.close()
    return seen


def repeated_resets(lab: Lab, guard: str, ip: int) -> tuple[int, GuardCounters]:
    """Three resets of a client for a connection that the node does not have.

    How many left the node again, and the counts.
    """
    lab.use(guard, Mode.ANSWER, healing=True)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.LISTENING)
    before = lab.counters()
    for flags in (RST, RST | ACK, RST):
        peer.send(connection.segment(flags))
    seen = _relayed(lab, peer, ip), since(before, lab.counters(), markers=1)
    peer.close()
    return seen


def reset_after_the_end(lab: Lab, guard: str, ip: int) -> tuple[int, GuardCounters]:
    """A client resets its connection at its owner, and then again.

    How many of the two left the node, and the counts.
    """
    lab.use(guard, Mode.ANSWER, healing=True)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.ESTABLISHED)
    lab.mark(ip)
    before = lab.counters()
    peer.send(connection.segment(RST))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "its end")
    peer.send(connection.segment(RST))
    seen = _relayed(lab, peer, ip), since(before, lab.counters(), markers=1)
    peer.close()
    return seen


def over_budget(
    lab: Lab, guard: str, ip: int
) -> tuple[list[Flags], int, GuardCounters]:
    """Five strays of as many connections, and a client's reset, where two fan-outs are
    allowed.

    The resets that the strays draw, how many resets were relayed, and the counts.
    """
    # The marker is of another client: it has a bucket of its own.
    budget = Budget(client=Limit(rate=0.001, burst=2.0))
    lab.use(guard, Mode.ANSWER, healing=True, budget=budget)
    peers = [lab.peer(ip) for _ in range(6)]
    connections = [peer.bring_to(State.LISTENING) for peer in peers]
    before = lab.counters()
    *strays, reset = zip(peers, connections, strict=True)
    for peer, connection in strays:
        peer.send(connection.segment(ACK))
    peer, connection = reset
    peer.send(connection.segment(RST))
    caught = lab.mark(ip)
    resets = [one.flags for peer, _ in strays for one in resets_of(peer, caught)]
    relayed = [one for one in caught if one.segment.ingress_connection == peer.tuple]
    counted = since(before, lab.counters(), markers=1)
    for one in peers:
        one.close()
    lab.use(guard, Mode.ANSWER)
    return resets, len(relayed), counted


def dear_relays(lab: Lab, guard: str, ip: int) -> tuple[int, GuardCounters]:
    """Three clients' resets, which take three tokens each, and two strays. There are seven.

    How many resets were relayed, and the counts.
    """
    lab.close_guard()  # what another story took from the client's bucket is not back yet
    budget = Budget(client=Limit(rate=0.001, burst=7.0), relay=3)
    lab.use(guard, Mode.ANSWER, healing=True, budget=budget)
    peers = [lab.peer(ip) for _ in range(5)]
    connections = [peer.bring_to(State.LISTENING) for peer in peers]
    before = lab.counters()
    for flags, peer, one in zip(
        (RST,) * 3 + (ACK,) * 2, peers, connections, strict=True
    ):
        peer.send(one.segment(flags))
    caught = lab.mark(ip)
    resets = {peer.tuple for peer in peers[:3]}
    relayed = [one for one in caught if one.segment.ingress_connection in resets]
    counted = since(before, lab.counters(), markers=1)
    for peer in peers:
        peer.close()
    lab.close_guard()
    return len(relayed), counted


def _request(lab: Lab, connection: FourTuple) -> None:
    """Sends a request for a keepalive from inside the node, as the healer does."""
    site = lab.node.site
    with enter_netns(site.pid):
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with packets:
        packets.bind((site.interface, 0))
        with contextlib.suppress(OSError):  # ENOBUFS: the guard has dropped it
            packets.send(request_frame(connection, site.mac))


def _relayed(lab: Lab, peer: Peer, ip: int) -> int:
    """How many segments of the client left the node again."""
    caught = lab.mark(ip)
    return sum(one.segment.ingress_connection == peer.tuple for one in caught)
