"""Which storage node holds each socket, told from the handshakes on the wire: pure.

Every node has the VIP, so the same 4-tuple can be on several nodes, and another cluster
on the same machine may use it too; the kernel's reports do not say in which namespace a
socket is. The wire does: a client's socket begins just before its SYN is seen, and a
node's socket begins just after that node's SYN,ACK.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from controller.ovs_hash import FourTuple
from experiments.analysis.epochs import END_OF_TIME
from experiments.analysis.observations import ACK, RST, SYN, Observation
from experiments.analysis.socket_states import SocketLife


def attributed(
    lives: Iterable[SocketLife],
    observations: Iterable[Observation],
    nodes: Collection[str],
) -> list[SocketLife]:
    """The sockets whose handshakes were observed, each node's with its ``host``.

    ``nodes`` are the labels of storage nodes. Sockets with no handshake among the
    observations are another cluster's, and are left out; those that were there before
    the probes began are kept as they are.
    """
    begun = [o for o in observations if o.flags & (SYN | RST) == SYN]
    syns = _by_connection(o for o in begun if not o.flags & ACK)
    answers = _by_connection(o for o in begun if is_answer(o, nodes))
    found: list[SocketLife] = []
    for connection, group in _grouped(lives).items():
        clients = [life for life in group if life.at_client]
        servers = [life for life in group if not life.at_client]
        found += _clients_of_ours(clients, syns.get(connection, {}))
        found += _servers_of_ours(servers, answers.get(connection, {}))
    return sorted(found, key=lambda life: life.first_ns)


def is_answer(observation: Observation, nodes: Collection[str]) -> bool:
    """Whether it is a node's SYN,ACK, as it leaves the node."""
    handshake = observation.flags & (SYN | RST | ACK) == SYN | ACK
    return handshake and observation.outgoing and observation.label in nodes


def _clients_of_ours(
    lives: list[SocketLife], syns: Mapping[int, Observation]
) -> list[SocketLife]:
    """Those that a SYN of the wire follows before the next one begins."""
    times = sorted(syn.time_ns for syn in syns.values())
    ends = [*(life.first_ns for life in lives), END_OF_TIME][1:]
    return [
        life
        for life, next_ns in zip(lives, ends, strict=True)
        if life.opened_ns is None
        or bisect_left(times, life.opened_ns) < bisect_left(times, next_ns)
    ]


def _servers_of_ours(
    lives: list[SocketLife], answers: Mapping[int, Observation]
) -> list[SocketLife]:
    """Each with the node whose SYN,ACK is the last one before it, used only once."""
    ordered = sorted(answers.values(), key=lambda answer: answer.time_ns)
    times = [answer.time_ns for answer in ordered]
    found, used = [], 0
    for life in lives:
        if life.opened_ns is None:
            found.append(life)
            continue
        before = bisect_right(times, life.opened_ns)
        if before > used:
            found.append(replace(life, host=ordered[before - 1].label))
            used = before
    return found


def _by_connection(
    handshakes: Iterable[Observation],
) -> dict[FourTuple, dict[int, Observation]]:
    """Connection -> sequence number -> the first sight of it, retransmissions aside."""
    found: dict[FourTuple, dict[int, Observation]] = defaultdict(dict)
    for one in handshakes:
        if one.connection:
            found[one.connection].setdefault(one.seq, one)
    return found


def _grouped(lives: Iterable[SocketLife]) -> dict[FourTuple, list[SocketLife]]:
    groups: dict[FourTuple, list[SocketLife]] = defaultdict(list)
    for life in sorted(lives, key=lambda life: life.first_ns):
        groups[life.connection].append(life)
    return groups
