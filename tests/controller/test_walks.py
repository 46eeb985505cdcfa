"""Frames walked through the pipeline of both tiers: who gets what, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.flows import Field
from controller.membership import Membership, NodeState
from controller.ovs_hash import FourTuple
from controller.predict import owner
from controller.tables import IPV4, IPV6, Family
from tests.controller.clusters import ALL_IN_SERVICE, H1, H2, PLAN, network, state
from tests.controller.flow_table import Arrival
from tests.controller.frames import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Frame,
    arp_request,
    connection,
    from_client,
    from_node,
    number,
    solicitation,
    tcp,
    udp,
)
from topologies.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    VIP4,
    VIP6,
    VIP_MAC,
    client_address,
    vip,
)

NODES = tuple(PLAN.nodes)
C1N1, C1N2 = NODES[:2]
SPORT = 40001

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
every_policy = pytest.mark.parametrize("policy", ["drop", "client-only", "flood"])


def family(version: int) -> Family:
    """The match fields of that IP version."""
    return {4: IPV4, 6: IPV6}[version]


def places(arrivals: Sequence[Arrival]) -> list[str]:
    """Where the frames arrived."""
    return [arrival.place for arrival in arrivals]


def owner_of(
    sport: int, version: int = 4, membership: Membership = ALL_IN_SERVICE
) -> str:
    """The node that h1's connection from that port belongs to."""
    current = state(membership)
    name = owner(PLAN, membership, current.balancer, connection(H1, sport, version))
    assert name is not None
    return name


@both_versions
@every_policy
@pytest.mark.parametrize(
    "flags", [SYN, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK], ids=hex
)
def test_a_clients_segment_goes_to_its_owner_alone_with_nothing_but_its_macs_changed(
    version: int, policy: str, flags: int
) -> None:
    frame = from_client(H1, SPORT, version, flags)
    walked = network(state(policy=policy)).delivered(H1.name, frame)
    node = PLAN.find_node(owner_of(SPORT, version))
    macs = {Field.ETH_SRC: number(GATEWAY_MAC), Field.ETH_DST: number(node.mac)}
    assert walked == [Arrival(node.name, {**frame, **macs})]


@both_versions
@every_policy
@pytest.mark.parametrize("flags", [SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST | ACK])
def test_a_nodes_segment_goes_to_its_client_alone_as_if_the_vip_were_its_neighbour(
    version: int, policy: str, flags: int
) -> None:
    frame = from_node(C1N1, H2, SPORT, version, flags)
    macs = {Field.ETH_SRC: number(VIP_MAC), Field.ETH_DST: number(H2.mac)}
    walked = network(state(policy=policy)).delivered(C1N1.name, frame)
    assert walked == [Arrival(H2.name, {**frame, **macs})]


@both_versions
@pytest.mark.parametrize("flags", [RST, RST | PSH], ids=["rst", "rst+psh"])
def test_a_not_recognised_reset_goes_to_its_client_then_every_chassis_then_every_node(
    version: int, flags: int
) -> None:
    frame = from_node(C1N2, H1, SPORT, version, flags)
    walked = network(state()).send(C1N2.name, frame)
    tiers = ["h1", "fabric", "c1", "c2", "c1n1", "c1n2", "c1n3", "c2n1", "c2n2", "c2n3"]
    assert places(walked) == ["fabric", *tiers]


@both_versions
def test_a_copy_is_the_reset_with_its_direction_turned_and_the_mark_as_its_source(
    version: int,
) -> None:
    frame = from_node(C1N2, H1, SPORT, version, RST)
    copies = network(state()).delivered(C1N2.name, frame)[1:]
    turned = tcp(connection(H1, SPORT, version), FANOUT_MAC, VIP_MAC, RST)
    assert copies == [
        Arrival(node.name, {**turned, Field.ETH_DST: number(node.mac)})
        for node in NODES
    ]


@both_versions
@pytest.mark.parametrize("policy", ["drop", "client-only"])
def test_without_the_flood_policy_a_not_recognised_reset_reaches_only_its_client(
    version: int, policy: str
) -> None:
    frame = from_node(C1N2, H1, SPORT, version, RST)
    assert places(network(state(policy=policy)).delivered(C1N2.name, frame)) == ["h1"]


@both_versions
def test_a_reset_for_nobody_who_is_a_client_is_not_copied(version: int) -> None:
    stranger = {4: "10.1.0.77", 6: "fd00:10:1::77"}[version]
    nobody = FourTuple(vip(version), 10809, stranger, SPORT)
    frame = tcp(nobody, C1N1.mac, GATEWAY_MAC, RST)
    assert places(network(state()).send(C1N1.name, frame)) == ["fabric"]


@both_versions
def test_copies_go_to_drained_nodes_but_not_to_failed_nodes_or_chassis(
    version: int,
) -> None:
    membership = (
        ALL_IN_SERVICE.with_node("c1n1", NodeState.DRAINED)
        .with_node("c1n3", NodeState.FAILED)
        .with_chassis_failed("c2")
    )
    frame = from_node(C1N2, H1, SPORT, version, RST)
    walked = network(state(membership)).send(C1N2.name, frame)
    assert places(walked) == ["fabric", "h1", "fabric", "c1", "c1n1", "c1n2"]


@both_versions
def test_a_chassis_with_no_node_in_service_gets_copies_and_no_connections(
    version: int,
) -> None:
    membership = ALL_IN_SERVICE
    for number_ in (1, 2, 3):
        membership = membership.with_node(f"c2n{number_}", NodeState.DRAINED)
    cluster = network(state(membership))
    copies = cluster.delivered("c1n2", from_node(C1N2, H1, SPORT, version, RST))
    assert places(copies)[-3:] == ["c2n1", "c2n2", "c2n3"]
    for sport in range(SPORT, SPORT + 40):
        to = places(cluster.delivered("h1", from_client(H1, sport, version)))
        assert to == [owner_of(sport, version, membership)]
        assert to[0].startswith("c1")


@both_versions
def test_a_drained_node_goes_on_talking_and_a_failed_one_is_not_listened_to(
    version: int,
) -> None:
    frame = from_node(C1N1, H1, SPORT, version)
    drained = state(ALL_IN_SERVICE.with_node("c1n1", NodeState.DRAINED))
    failed = state(ALL_IN_SERVICE.with_node("c1n1", NodeState.FAILED))
    dead_chassis = state(ALL_IN_SERVICE.with_chassis_failed("c1"))
    assert places(network(drained).delivered("c1n1", frame)) == ["h1"]
    assert network(failed).send("c1n1", frame) == []
    assert network(dead_chassis).send("c1n1", frame) == []


def test_with_nobody_in_service_a_segment_is_dropped() -> None:
    membership = Membership(dict.fromkeys((n.name for n in NODES), NodeState.DRAINED))
    assert network(state(membership)).send("h1", from_client(H1, SPORT)) == []


OWN = from_client(H1, SPORT)
FORGED = {
    "mark as its source MAC": {Field.ETH_SRC: number(FANOUT_MAC)},
    "another client's MAC": {Field.ETH_SRC: number(H2.mac)},
    "another client's address": {Field.IP_SRC: number(H2.ipv4)},
    "the VIP as its address": {Field.IP_SRC: number(VIP4)},
    "to another address": {Field.IP_DST: number(C1N1.ipv4)},
    "to another client": {Field.IP_DST: number(H2.ipv4)},
    "to a node's MAC": {Field.ETH_DST: number(C1N1.mac)},
    "to the gateway's MAC": {Field.ETH_DST: number(GATEWAY_MAC)},
    "VLAN tag": {Field.VLAN_TCI: 0x1005},
    "priority tag": {Field.VLAN_TCI: 0x1000},
    "first fragment": {Field.IP_FRAG: 1},
    "later fragment": {Field.IP_FRAG: 3},
    "unknown EtherType": {Field.ETH_TYPE: 0x88B5},
    "UDP": {Field.IP_PROTO: 17},
    "ICMP": {Field.IP_PROTO: 1},
}


@every_policy
@pytest.mark.parametrize("flags", [ACK, RST], ids=["ack", "rst"])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_a_client_may_not_send_goes_nowhere(
    forged: Frame, flags: int, policy: str
) -> None:
    frame = {**OWN, Field.TCP_FLAGS: flags, **forged}
    assert network(state(policy=policy)).send("h1", frame) == []


def test_a_datagram_goes_nowhere() -> None:
    assert network(state()).send("h1", udp(H1)) == []


FROM_NODE = from_node(C1N1, H1, SPORT, flags=RST)
SPOOFED = {
    "mark as its source MAC": {Field.ETH_SRC: number(FANOUT_MAC)},
    "another node's MAC": {Field.ETH_SRC: number(C1N2.mac)},
    "its own address": {Field.IP_SRC: number(C1N1.ipv4)},
    "a client's address": {Field.IP_SRC: number(H1.ipv4)},
    "to the VIP's MAC": {Field.ETH_DST: number(VIP_MAC)},
    "to another node's MAC": {Field.ETH_DST: number(C1N2.mac)},
    "VLAN tag": {Field.VLAN_TCI: 0x1005},
    "fragment": {Field.IP_FRAG: 1},
    "UDP": {Field.IP_PROTO: 17},
}


@every_policy
@pytest.mark.parametrize("spoofed", SPOOFED.values(), ids=SPOOFED)
def test_what_a_node_may_not_send_goes_nowhere(spoofed: Frame, policy: str) -> None:
    frame = {**FROM_NODE, **spoofed}
    assert network(state(policy=policy)).send("c1n1", frame) == []


@every_policy
@pytest.mark.parametrize("flags", [ACK, RST | ACK, SYN], ids=["ack", "rst+ack", "syn"])
def test_a_mark_on_anything_but_a_not_recognised_reset_stops_at_the_chassis(
    flags: int, policy: str
) -> None:
    chassis = network(state(policy=policy)).switches["c1"]
    frame = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, flags)
    assert chassis.process(frame, 1000) == []


@pytest.mark.parametrize("policy", ["drop", "client-only"])
def test_a_late_copy_stops_at_a_chassis_that_has_left_the_flood_policy(
    policy: str,
) -> None:
    chassis = network(state(policy=policy)).switches["c1"]
    copy = tcp(connection(H1, SPORT), FANOUT_MAC, VIP_MAC, RST)
    assert chassis.process(copy, 1000) == []


@pytest.mark.parametrize(
    ("host", "mac", "sender", "target", "answer"),
    [
        ("h1", H1.mac, H1.ipv4, VIP4, VIP_MAC),
        ("c1n1", C1N1.mac, VIP4, H1.ipv4, GATEWAY_MAC),
        ("c1n1", C1N1.mac, C1N1.ipv4, "10.9.9.9", GATEWAY_MAC),
    ],
    ids=["client asks for the VIP", "node asks for a client", "node asks for anyone"],
)
def test_an_arp_request_comes_back_as_its_reply(
    host: str, mac: str, sender: str, target: str, answer: str
) -> None:
    [reply] = network(state()).send(host, arp_request(mac, sender, target))
    assert reply.place == host
    assert reply.frame == {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(answer),
        Field.ETH_DST: number(mac),
        Field.ETH_TYPE: 0x0806,
        Field.ARP_OP: 2,
        Field.ARP_SPA: number(target),
        Field.ARP_SHA: number(answer),
        Field.ARP_TPA: number(sender),
        Field.ARP_THA: number(mac),
    }


@pytest.mark.parametrize(
    ("host", "mac", "sender", "target", "answer"),
    [
        ("h1", H1.mac, H1.ipv6, VIP6, VIP_MAC),
        ("h1", H1.mac, "fe80::1", VIP6, VIP_MAC),
        ("c1n1", C1N1.mac, VIP6, H1.ipv6, GATEWAY_MAC),
    ],
    ids=["client asks for the VIP", "client probes it", "node asks for a client"],
)
def test_a_solicitation_comes_back_as_an_advertisement(
    host: str, mac: str, sender: str, target: str, answer: str
) -> None:
    [reply] = network(state()).send(host, solicitation(mac, sender, target))
    assert reply.place == host
    expected = {
        Field.ETH_SRC: number(answer),
        Field.ETH_DST: number(mac),
        Field.IPV6_SRC: number(target),
        Field.IPV6_DST: number(sender),
        Field.ICMPV6_TYPE: 136,
        Field.ND_TARGET: number(target),
        Field.ND_RESERVED: 0x60000000,
        Field.ND_OPTIONS_TYPE: 2,
        Field.ND_TLL: number(answer),
    }
    assert {field: reply.frame[field] for field in expected} == expected


@pytest.mark.parametrize(
    ("host", "question"),
    [
        ("h1", arp_request(H1.mac, H1.ipv4, H2.ipv4)),
        ("h1", arp_request(H1.mac, H2.ipv4, VIP4)),
        ("h1", arp_request(H2.mac, H1.ipv4, VIP4)),
        ("h1", {**arp_request(H1.mac, H1.ipv4, VIP4), Field.ARP_OP: 2}),
        ("h1", solicitation(H1.mac, H1.ipv6, H2.ipv6)),
        ("h1", solicitation(H2.mac, H1.ipv6, VIP6)),
        ("c1n1", arp_request(C1N2.mac, VIP4, H1.ipv4)),
        ("c1n1", solicitation(C1N1.mac, "::", C1N1.ipv6)),
        ("c1n1", solicitation(C1N2.mac, VIP6, H1.ipv6)),
    ],
    ids=[
        "for another client",
        "with another's address",
        "with another's MAC",
        "an unasked reply",
        "for another client, IPv6",
        "with another's MAC, IPv6",
        "a node with another's MAC",
        "duplicate address detection",
        "a node with another's MAC, IPv6",
    ],
)
def test_no_other_question_is_answered(host: str, question: Frame) -> None:
    assert network(state()).send(host, question) == []


@both_versions
def test_moved_connections_meet_another_node_and_the_rest_do_not(version: int) -> None:
    drained = ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED)
    before, after = network(state()), network(state(drained))
    for sport in range(SPORT, SPORT + 60):
        frame = from_client(H1, sport, version)
        assert places(before.delivered("h1", frame)) == [owner_of(sport, version)]
        assert places(after.delivered("h1", frame)) == [
            owner_of(sport, version, drained)
        ]


def test_addresses_of_the_walks_are_the_plans() -> None:
    assert number(client_address(H1, 6)) == OWN_V6[Field.IPV6_SRC]


OWN_V6 = from_client(H1, SPORT, 6)
EVERYTHING = {
    "h1": (
        [OWN, OWN_V6, udp(H1)]
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
        switch.process(marked, 1000)
        for version in (4, 6):
            switch.process(from_client(H1, SPORT, version), 1000)
        unreached = set(current.tables()[name]) - switch.hit
        assert name in membership.failed_chassis or not unreached
