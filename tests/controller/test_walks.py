"""Frames simulated through both tiers' pipeline: where they arrive, in which order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.flows.entries import Field
from controller.flows.flow_tables import IPV4, IPV6, AddressFamily
from controller.policies import POLICIES
from tests.controller.clusters import ALL_IN_SERVICE, H1, H2, PLAN, network, state
from tests.controller.flow_table import Arrival
from tests.controller.frames import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    connection,
    from_client,
    from_node,
    number,
    tcp,
)
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import owner
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    VIP_MAC,
    vip,
)

NODES = tuple(PLAN.nodes)
C1N1, C1N2 = NODES[:2]
SPORT = 40001

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
every_policy = pytest.mark.parametrize("policy", POLICIES)


def family(version: int) -> AddressFamily:
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
def test_a_clients_segment_goes_only_to_its_owner_with_only_its_macs_changed(
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
def test_a_nodes_segment_goes_only_to_its_client_from_the_vips_mac(
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
def test_a_copy_is_the_reset_with_swapped_addresses_and_the_mark_as_source(
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
def test_a_reset_for_an_unknown_client_is_not_copied(version: int) -> None:
    unknown = {4: "10.1.0.77", 6: "fd00:10:1::77"}[version]
    unmatched = FourTuple(vip(version), 10809, unknown, SPORT)
    frame = tcp(unmatched, C1N1.mac, GATEWAY_MAC, RST)
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
def test_segments_of_drained_nodes_pass_and_of_failed_nodes_are_dropped(
    version: int,
) -> None:
    frame = from_node(C1N1, H1, SPORT, version)
    drained = state(ALL_IN_SERVICE.with_node("c1n1", NodeState.DRAINED))
    failed = state(ALL_IN_SERVICE.with_node("c1n1", NodeState.FAILED))
    dead_chassis = state(ALL_IN_SERVICE.with_chassis_failed("c1"))
    assert places(network(drained).delivered("c1n1", frame)) == ["h1"]
    assert network(failed).send("c1n1", frame) == []
    assert network(dead_chassis).send("c1n1", frame) == []


def test_without_a_member_in_service_a_segment_is_dropped() -> None:
    membership = Membership(dict.fromkeys((n.name for n in NODES), NodeState.DRAINED))
    assert network(state(membership)).send("h1", from_client(H1, SPORT)) == []


@both_versions
def test_moved_connections_reach_another_node_and_the_others_do_not(
    version: int,
) -> None:
    drained = ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED)
    before, after = network(state()), network(state(drained))
    for sport in range(SPORT, SPORT + 60):
        frame = from_client(H1, sport, version)
        assert places(before.delivered("h1", frame)) == [owner_of(sport, version)]
        assert places(after.delivered("h1", frame)) == [
            owner_of(sport, version, drained)
        ]
