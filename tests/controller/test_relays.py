"""Clients' own resets on their way to the owner, walked through the flow tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.flows.entries import Field
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, network, state
from tests.controller.frames import (
    ACK,
    FIN,
    RST,
    SYN,
    Frame,
    connection,
    from_client,
    number,
    tcp,
)
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import RELAY_MAC, Node

C1N1 = next(iter(PLAN.nodes))
RELAY = number(RELAY_MAC)
EVERY_NODE = sorted(node.name for node in PLAN.nodes)

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
both_resets = pytest.mark.parametrize("flags", [RST, RST | ACK], ids=["rst", "rst+ack"])


def healing(
    policy: str = "flood", membership: Membership = ALL_IN_SERVICE
) -> ClusterState:
    return replace(state(membership, policy=policy), healing=True)


def relayed(node: Node, version: int = 4, flags: int = RST) -> Frame:
    """A client's reset as that node's guard sends it back."""
    return tcp(connection(H1, 40001, version), node.mac, RELAY_MAC, flags)


@both_versions
@both_resets
@pytest.mark.parametrize("policy", POLICIES)
def test_every_node_gets_one_and_no_client_gets_any(
    policy: str, flags: int, version: int
) -> None:
    frame = relayed(C1N1, version, flags)
    arrived = network(healing(policy)).delivered(C1N1.name, frame)
    assert sorted(one.place for one in arrived) == EVERY_NODE
    for one in arrived:
        assert one.frame[Field.ETH_SRC] == RELAY
        assert one.frame[Field.ETH_DST] == number(PLAN.find_node(one.place).mac)
        same = {**one.frame, Field.ETH_SRC: 0, Field.ETH_DST: 0}
        assert same.items() >= {**frame, Field.ETH_SRC: 0, Field.ETH_DST: 0}.items()


def test_unreachable_nodes_get_none() -> None:
    membership = ALL_IN_SERVICE.with_node("c1n2", NodeState.FAILED)
    membership = membership.with_node("c1n3", NodeState.DRAINED)
    cut = membership.with_chassis_cut_off("c2")
    arrived = network(healing(membership=cut)).delivered("c1n1", relayed(C1N1))
    assert sorted(one.place for one in arrived) == ["c1n1", "c1n3"]


@pytest.mark.parametrize("policy", POLICIES)
def test_without_healing_nothing_is_relayed(policy: str) -> None:
    assert network(state(policy=policy)).delivered("c1n1", relayed(C1N1)) == []


@pytest.mark.parametrize("flags", [ACK, SYN, FIN | ACK], ids=["ack", "syn", "fin"])
def test_only_resets_are_relayed(flags: int) -> None:
    frame = relayed(C1N1, flags=flags)
    assert network(healing()).delivered("c1n1", frame) == []


@both_versions
@pytest.mark.parametrize("field", [Field.ETH_SRC, Field.ETH_DST])
def test_no_client_can_relay(field: Field, version: int) -> None:
    frame = {**from_client(H1, 40001, version, RST), field: RELAY}
    assert network(healing()).delivered("h1", frame) == []


def test_a_node_can_relay_by_its_own_mac_and_to_the_vip_only() -> None:
    for forged in (
        {Field.ETH_SRC: number(PLAN.find_node("c1n2").mac)},
        {Field.ETH_SRC: RELAY},
        {Field.IP_DST: number(H1.ipv4)},
    ):
        frame = {**relayed(C1N1), **forged}
        assert network(healing()).delivered("c1n1", frame) == []
