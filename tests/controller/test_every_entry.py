"""No flow entry is unused: each matches some frame that can occur."""

from __future__ import annotations

import pytest

from controller.flows.entries import Field
from controller.flows.flow_tables import ADDRESS_FAMILIES, Table
from controller.policies import POLICIES
from tests.controller.clusters import ALL_IN_SERVICE, H1, H2, PLAN, network, state
from tests.controller.frames import (
    ACK,
    RST,
    SYN,
    arp_request,
    connection,
    from_client,
    from_node,
    icmp_from_client,
    icmp_from_node,
    number,
    tcp,
    udp,
)
from topologies.domain.connection import FourTuple
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    SEARCH_MAC,
    SECOND_CHANCE_MAC,
    UPLINK_PORT,
    VIP4,
    VIP_MAC,
)

NODES = tuple(PLAN.nodes)
SPORT = 40001
_SECOND = number(SECOND_CHANCE_MAC)

every_policy = pytest.mark.parametrize("policy", POLICIES)

MESSAGES = {
    client: [
        icmp_from_client(client, kind, family.version)
        for family in ADDRESS_FAMILIES
        for kind in (family.control.echo_request, *family.control.errors)
    ]
    for client in (H1, H2)
}

EVERYTHING = {
    "h1": (
        [udp(H1)]
        + [from_client(H1, sport, v) for sport in range(300) for v in (4, 6)]
        + [from_client(H1, sport, 4, SYN) for sport in range(40)]
        + [arp_request(H1.mac, H1.ipv4, VIP4)]
        + MESSAGES[H1]
    ),
    "h2": (
        [from_client(H2, SPORT, v) for v in (4, 6)]
        + [arp_request(H2.mac, H2.ipv4, VIP4)]
        + MESSAGES[H2]
    ),
} | {
    node.name: (
        [
            from_node(node, client, SPORT, v, flags)
            for client in (H1, H2)
            for v in (4, 6)
            for flags in (ACK, RST)
        ]
        + [from_node(node, H1, sport, 4, RST) for sport in range(40)]
        + [
            {**frame, Field.ETH_SRC: number(node.mac), Field.ETH_DST: _SECOND}
            for client in (H1, H2)
            for sport in range(40)
            for v in (4, 6)
            for frame in (from_client(client, sport, v), from_node(node, client, 1, v))
        ]
        + [
            arp_request(node.mac, VIP4, H1.ipv4),
            *(
                icmp_from_node(node, client, family.control.echo_reply, family.version)
                for client in (H1, H2)
                for family in ADDRESS_FAMILIES
            ),
            udp(H1),
            tcp(FourTuple(VIP4, 1, "10.1.0.77", 2), node.mac, GATEWAY_MAC),
        ]
    )
    for node in NODES
}
STATES = {
    "all in service": ALL_IN_SERVICE,
    "a node drained, a chassis failed": ALL_IN_SERVICE.with_node(
        "c1n1", NodeState.DRAINED
    ).with_chassis_failed("c2"),
    "a chassis cut off, all reseeded": ALL_IN_SERVICE.with_chassis_cut_off("c2")
    .with_reseeded("fabric")
    .with_reseeded("c1"),
    "nobody in service": Membership(
        dict.fromkeys((n.name for n in NODES), NodeState.DRAINED)
    ),
}


@every_policy
@pytest.mark.parametrize("membership", STATES.values(), ids=STATES)
def test_every_entry_is_reached(membership: Membership, policy: str) -> None:
    """Every entry matches a frame that hosts or the fabric can send.

    Unreachable chassis are exempt: the fabric sends them nothing.
    """
    current = state(membership, policy)
    before = network(state(policy=policy))
    for frame in EVERYTHING["h1"]:
        before.send("h1", frame)
    cluster = network(current).recall(before)
    for host, frames in EVERYTHING.items():
        for frame in frames:
            cluster.send(host, frame)
    for name, switch in cluster.switches.items():
        # Frames from the fabric that occur only while the tiers differ, because they are
        # updated one after the other.
        marked = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, ACK)
        switch.process(marked, UPLINK_PORT)
        for message in MESSAGES[H1]:
            switch.process(message, UPLINK_PORT)
        for version in (4, 6):
            switch.process(from_client(H1, SPORT, version), UPLINK_PORT)
            switch.process(from_client(H1, 300, version, SYN), UPLINK_PORT)
            switch.process(from_client(H1, 300, version), UPLINK_PORT)
            copy = tcp(connection(H1, SPORT, version), FANOUT_MAC, VIP_MAC, RST)
            switch.process(copy, UPLINK_PORT)
            for sport in range(40):
                for time, since in ((0, 0), (0, 1), (2, 1), (0xFFFF, 0)):
                    macs = {
                        Field.ETH_SRC: number(SEARCH_MAC) | 1,
                        Field.ETH_DST: time << 16 | since,
                    }
                    brought = {**from_client(H1, sport, version), **macs}
                    switch.process(brought, UPLINK_PORT)
        # Which members answer echo requests depends on the clients' addresses, and there
        # are too few clients here for all (test_icmp.py has enough).
        wanted = {e for e in current.tables()[name] if e.table != Table.ECHO_MEMBER}
        unreached = wanted - switch.hit
        assert name in membership.unreachable_chassis or not unreached
