"""Histories in which one check of the guard or the healer is all that helps.

Each leads a world there. Without the check, something happens that must never happen.
"""

from __future__ import annotations

from tests.histories.tcp_ends import State
from tests.histories.world import BOUND_S, SLACK_S, World
from topologies.domain.arrangement import Arrangement
from topologies.domain.membership import NodeState

SPORT = 40001
#: Between two connections' numbers that are far, and near.
FAR, NEAR = 0x1357_9BDF, 40_000


def opened(world: World, iss: int = FAR, *, near_server: bool = False) -> None:
    """A connection of the port, which is open then."""
    world.open(SPORT, iss, near_server=near_server)
    world.all_arrive()
    if (
        world.clients[SPORT].state is State.SYN_SENT
    ):  # the SYN was for an old connection
        world.speak(SPORT, 0)
        world.all_arrive()


def moved(world: World) -> str:
    """The connection's node is drained; returns its name."""
    name = world.owner_of(world.key(SPORT))
    assert name
    _node(world, name, NodeState.DRAINED)
    return name


def _node(world: World, name: str, to: NodeState) -> None:
    now = world.state
    world.change(Arrangement(now.plan, now.membership.with_node(name, to)))


def _spoken(world: World) -> None:
    world.speak(SPORT, 100)
    world.all_arrive()


def _late_resets(world: World) -> None:
    for position in range(len(world.past_resets)):
        world.arrive_late(position, is_reset=True)
        world.all_arrive()


def _fair(world: World) -> None:
    world.turn_fair(BOUND_S + SLACK_S)
    world.require_all_freed()


def late_copy_near_the_client(world: World) -> None:
    """The client's numbers are near: what the server has sent tells them apart."""
    opened(world)
    moved(world)
    _spoken(world)
    opened(world, FAR + NEAR)
    _late_resets(world)


def late_copy_near_the_server(world: World) -> None:
    """The server's numbers are near: where the client is tells them apart."""
    opened(world)
    moved(world)
    _spoken(world)
    opened(world, 3 * FAR, near_server=True)
    world.server_speaks(SPORT, 1000)
    _late_resets(world)


def late_relay(world: World) -> None:
    """A client that has forgotten its connection answers a keepalive; that reset is late."""
    opened(world)
    moved(world)
    world.vanish()
    world.there = True
    world.server_speaks(SPORT, 10)
    world.all_arrive()
    opened(world, 3 * FAR)
    _late_resets(world)


def late_copy_meets_a_request(world: World) -> None:
    """It is out of the request's window, and must leave no memory."""
    opened(world)
    moved(world)
    _spoken(world)
    world.open(SPORT, 3 * FAR)
    world.arrive(0)
    assert world.wire
    answer = world.wire.pop()
    _late_resets(world)
    world.wire.append(answer)
    world.all_arrive()
    world.server_speaks(SPORT, 10)


def same_port_at_the_freed_owner(world: World) -> None:
    """The old owner is freed, has the bucket again, and takes a SYN within a second."""
    opened(world)
    owner = moved(world)
    _spoken(world)
    _node(world, owner, NodeState.IN_SERVICE)
    opened(world, 3 * FAR)


def another_socket_at_the_deadline(world: World) -> None:
    """The healer has decided to destroy a socket; another one has its addresses now."""
    opened(world)
    owner = moved(world)
    world.vanish()
    world.wait_for_healer()
    _node(world, owner, NodeState.IN_SERVICE)
    world.there = True
    opened(world, 3 * FAR)
    world.pass_time(0.05)


def away_and_back(world: World) -> None:
    """The client is gone while the bucket is elsewhere, and the bucket comes back."""
    opened(world)
    owner = moved(world)
    world.vanish()
    world.pass_time(0.1)
    _node(world, owner, NodeState.IN_SERVICE)
    _fair(world)


def vanished(world: World) -> None:
    """The client is gone, and never answers."""
    opened(world)
    moved(world)
    world.vanish()
    _fair(world)


def many_strays(world: World) -> None:
    """Of many connections at once."""
    ports = range(SPORT, SPORT + 12)
    for sport in ports:
        world.open(sport, sport * FAR % (1 << 32))
        world.all_arrive()
    moved(world)
    for sport in ports:
        world.speak(sport, 100)
        world.all_arrive()
    world.require_budget()


def repeated_strays(world: World) -> None:
    """Two of one connection at once."""
    opened(world)
    moved(world)
    world.speak(SPORT, 100)
    world.speak(SPORT, 100)
    world.all_arrive()


#: Check -> the history.
HISTORIES = {
    "fit-sent": late_copy_near_the_client,
    "fit-near": late_copy_near_the_server,
    "exact": late_relay,
    "embryonic": late_copy_meets_a_request,
    "syn-forgets": same_port_at_the_freed_owner,
    "cookie": another_socket_at_the_deadline,
    "return": away_and_back,
    "heal": vanished,
    "deadline": vanished,
    "budget": many_strays,
    "quiet": repeated_strays,
}
