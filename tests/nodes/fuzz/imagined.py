"""A node's sockets as they are to be: states, and numbers of which many wrap around.

Pure. :mod:`tests.nodes.fuzz.real_sockets` makes them so in a kernel.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import NamedTuple

from nodes.guard.segment import advance
from nodes.guard.verdict import FlowInfo, Numbers, Status
from tests.nodes.fuzz.oracle import World
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6

CLIENTS = {4: "10.1.0.7", 6: "fd00:10:1::7"}
_VIPS = {4: VIP4, 6: VIP6}


class Holding(Enum):
    """What the node holds of a connection."""

    CLOSED_PORT = "nothing, and the port is closed"
    LISTENER = "nothing but a listening socket"
    COOKIE = "a SYN cookie"
    SYN_RECEIVED = "a request"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


#: Those without numbers that a guard can read.
STATUS = {
    Holding.CLOSED_PORT: Status.NOTHING,
    Holding.LISTENER: Status.NOTHING,
    Holding.COOKIE: Status.NOTHING,
    Holding.SYN_RECEIVED: Status.EMBRYONIC,
    Holding.TIME_WAIT: Status.TIME_WAIT,
}


class Peer(NamedTuple):
    """One connection. ``numbers``: of a socket that shows none, those it would have.

    Of a connection that has none yet, RCV.NXT is the client's first number after its SYN.
    """

    tuple: FourTuple
    holding: Holding
    numbers: Numbers


#: Octets in flight of the connections of each world.
_FLIGHTS = (0, 0, 1, 2, 700, 30_000)
_KINDS = (
    *([Holding.ESTABLISHED] * len(_FLIGHTS)),
    *[holding for holding in Holding if holding is not Holding.ESTABLISHED],
)
_MODULUS = 1 << 32


def imagine(rng: Random, serial: int = 0) -> list[Peer]:
    """The connections of one world, of both IP versions.

    Worlds of other serial numbers have other ports: what a kernel keeps of one (as
    TIME-WAIT) is not in the next one's way.
    """
    return [
        _peer(rng, ip, serial, i, holding)
        for ip in (4, 6)
        for i, holding in enumerate(_KINDS)
    ]


def world_of(
    peers: list[Peer], cookies: dict[FourTuple, tuple[int, int]] | None = None
) -> World:
    """What a guard finds of these connections."""
    sockets = {
        peer.tuple: _info(peer)
        for peer in peers
        if STATUS.get(peer.holding) is not Status.NOTHING
    }
    return World(sockets, cookies or {})


def _info(peer: Peer) -> FlowInfo:
    if peer.holding in STATUS:
        return FlowInfo(STATUS[peer.holding])
    return FlowInfo(Status.CONNECTION, peer.numbers)


def _peer(rng: Random, ip: int, serial: int, i: int, holding: Holding) -> Peer:
    port = 10_000 + serial % 20_000 * 2
    closed = holding is Holding.CLOSED_PORT
    ends = FourTuple(CLIENTS[ip], 40_000 + i, _VIPS[ip], port + closed)
    flight = _FLIGHTS[i] if holding is Holding.ESTABLISHED else 0
    snd_una, rcv_nxt = _wrapping(rng, flight), _wrapping(rng, 2)
    # A FIN that was sent, or received, has its number.
    if holding in (Holding.FIN_WAIT_1, Holding.LAST_ACK):
        flight += 1
    return Peer(ends, holding, Numbers(snd_una, advance(snd_una, flight), rcv_nxt))


def _wrapping(rng: Random, flight: int) -> int:
    """A number; often such that the next ``flight`` reach zero, or half the circle."""
    edge = (0, _MODULUS // 2)[int(rng.random() * 2)]
    near = edge - int(rng.random() * (flight + 2))
    return (near if rng.random() < 0.6 else rng.getrandbits(32)) % _MODULUS
