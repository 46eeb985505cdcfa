"""No flow entry is there in vain: each is taken by some frame that can occur."""

from __future__ import annotations

import pytest

from controller.membership import Membership, NodeState
from controller.ovs_hash import FourTuple
from tests.controller.clusters import ALL_IN_SERVICE, H1, H2, PLAN, network, state
from tests.controller.frames import (
    ACK,
    RST,
    arp_request,
    connection,
    from_client,
    from_node,
    solicitation,
    tcp,
    udp,
)
from topologies.plan import FANOUT_MAC, GATEWAY_MAC, UPLINK_PORT, VIP4, VIP6, VIP_MAC

NODES = tuple(PLAN.nodes)
SPORT = 40001

every_policy = pytest.mark.parametrize("policy", ["drop", "client-only", "flood"])

EVERYTHING = {
    "h1": (
        [udp(H1)]
        + [from_client(H1, sport, v) for sport in range(300) for v in (4, 6)]
        + [arp_request(H1.mac, H1.ipv4, VIP4), solicitation(H1.mac, H1.ipv6, VIP6)]
    ),
    "h2": (
        [from_client(H2, SPORT, v) for v in (4, 6)]
        + [arp_request(H2.mac, H2.ipv4, VIP4), solicitation(H2.mac, H2.ipv6, VIP6)]
    ),
} | {
    node.name: (
        [
            from_node(node, client, SPORT, v, flags)
            for client in (H1, H2)
            for v in (4, 6)
            for flags in (ACK, RST)
        ]
        + [
            arp_request(node.mac, VIP4, H1.ipv4),
            solicitation(node.mac, VIP6, H1.ipv6),
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
    "nobody in service": Membership(
        dict.fromkeys((n.name for n in NODES), NodeState.DRAINED)
    ),
}


@every_policy
@pytest.mark.parametrize("membership", STATES.values(), ids=STATES)
def test_every_entry_is_reached(membership: Membership, policy: str) -> None:
    """No entry is there in vain, given what hosts and the fabric can send.

    Of a failed chassis nothing is asked: the fabric sends it nothing.
    """
    current = state(membership, policy)
    cluster = network(current)
    for host, frames in EVERYTHING.items():
        for frame in frames:
            cluster.send(host, frame)
    for name, switch in cluster.switches.items():
        # What comes from the fabric only when a tier disagrees with the other, as it
        # may for a moment while they change one after the other.
        marked = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, ACK)
        switch.process(marked, UPLINK_PORT)
        for version in (4, 6):
            switch.process(from_client(H1, SPORT, version), UPLINK_PORT)
        unreached = set(current.tables()[name]) - switch.hit
        assert name in membership.failed_chassis or not unreached
