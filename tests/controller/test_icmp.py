"""ICMP through both tiers: who answers an echo request, and whom an error reaches."""

from __future__ import annotations

import pytest

from controller.flows.entries import Field, Meter
from controller.flows.flow_tables import ADDRESS_FAMILIES, IPV4, AddressFamily
from controller.policies import POLICIES
from tests.controller.clusters import ALL_IN_SERVICE, H1, H2, PLAN, network, state
from tests.controller.flow_table import Arrival
from tests.controller.frames import Frame, icmp_from_client, icmp_from_node, number
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import (
    FABRIC,
    FANOUT_MAC,
    GATEWAY_MAC,
    VIP_MAC,
    Client,
    Plan,
    client_address,
)

NODES = tuple(PLAN.nodes)
C1N1, C1N2 = NODES[:2]

both_versions = pytest.mark.parametrize("family", ADDRESS_FAMILIES, ids=["v4", "v6"])
every_policy = pytest.mark.parametrize("policy", POLICIES)
every_error = pytest.mark.parametrize(
    ("family", "kind"),
    [(family, kind) for family in ADDRESS_FAMILIES for kind in family.control.errors],
    ids=["unreachable", "unreachable6", "too-big6"],
)


def echo(client: Client, family: AddressFamily) -> Frame:
    return icmp_from_client(client, family.control.echo_request, family.version)


@both_versions
@every_policy
def test_one_node_in_service_gets_the_request_and_its_client_the_reply(
    policy: str, family: AddressFamily
) -> None:
    cluster = network(state(policy=policy))
    request = echo(H1, family)
    [arrived] = cluster.delivered("h1", request)
    node = PLAN.find_node(arrived.place)
    macs = {Field.ETH_SRC: number(GATEWAY_MAC), Field.ETH_DST: number(node.mac)}
    assert arrived.frame == {**request, **macs}
    reply = icmp_from_node(node, H1, family.control.echo_reply, family.version)
    macs = {Field.ETH_SRC: number(VIP_MAC), Field.ETH_DST: number(H1.mac)}
    assert cluster.delivered(node.name, reply) == [Arrival("h1", {**reply, **macs})]


@both_versions
def test_only_members_in_service_answer(family: AddressFamily) -> None:
    membership = ALL_IN_SERVICE.with_chassis_failed("c2")
    for name in ("c1n1", "c1n3"):
        membership = membership.with_node(name, NodeState.DRAINED)
    cluster = network(state(membership))
    for client in (H1, H2):
        [arrived] = cluster.delivered(client.name, echo(client, family))
        assert arrived.place == "c1n2"


@both_versions
def test_with_nobody_in_service_nobody_answers(family: AddressFamily) -> None:
    nobody = Membership(dict.fromkeys((n.name for n in NODES), NodeState.DRAINED))
    assert network(state(nobody)).send("h1", echo(H1, family)) == []


def test_clients_are_spread_over_the_nodes() -> None:
    plan = Plan.build(chassis=2, nodes=3, clients=60)
    cluster = network(state(Membership.all_in_service(plan), plan=plan))
    answers = {
        arrived.place
        for client in plan.clients
        for arrived in cluster.delivered(client.name, echo(client, IPV4))
    }
    assert answers == {node.name for node in plan.nodes}


@every_error
@every_policy
def test_an_error_reaches_every_live_node_and_no_client(
    policy: str, family: AddressFamily, kind: int
) -> None:
    membership = ALL_IN_SERVICE.with_node("c1n1", NodeState.DRAINED)
    membership = membership.with_node("c2n3", NodeState.FAILED)
    error = icmp_from_client(H1, kind, family.version)
    arrived = network(state(membership, policy)).delivered("h1", error)
    assert [a.place for a in arrived] == ["c1n1", "c1n2", "c1n3", "c2n1", "c2n2"]
    for one in arrived:
        mac = PLAN.find_node(one.place).mac
        macs = {Field.ETH_SRC: number(GATEWAY_MAC), Field.ETH_DST: number(mac)}
        assert one.frame == {**error, **macs}


def test_each_client_has_its_own_limits_and_all_share_one_for_errors() -> None:
    """All frames of one client, of either version, count for one meter."""
    cluster = network(state())
    for client in (H1, H2):
        for family in ADDRESS_FAMILIES:
            cluster.send(client.name, echo(client, family))
            for kind in family.control.errors:
                message = icmp_from_client(client, kind, family.version)
                cluster.send(client.name, message)
    metered = cluster.switches[FABRIC].metered
    assert sorted(metered.values()) == [2, 2, 3, 3, 6]
    [of_all] = [meter for meter, count in metered.items() if count == 6]
    assert of_all.number not in {m.number for m in metered if m != of_all}


def test_no_two_meters_have_one_number() -> None:
    plan = Plan.build(chassis=1, nodes=1, clients=250)
    tables = state(Membership.all_in_service(plan), plan=plan).tables()
    actions = (action for entry in tables[FABRIC] for action in entry.actions)
    meters = {action for action in actions if isinstance(action, Meter)}
    assert len(meters) == len({meter.number for meter in meters}) == 2 * 250 + 1


@both_versions
@pytest.mark.parametrize(
    "forged",
    ["another client's address", "another's MAC", "mark", "another type", "fragment"],
)
def test_no_other_message_of_a_client_is_carried(
    family: AddressFamily, forged: str
) -> None:
    fields: dict[str, Frame] = {
        "another client's address": {
            family.source: number(client_address(H2, family.version))
        },
        "another's MAC": {Field.ETH_SRC: number(H2.mac)},
        "mark": {Field.ETH_SRC: number(FANOUT_MAC)},
        "another type": {family.control.type_field: family.control.echo_reply},
        "fragment": {Field.IP_FRAG: 1},
    }
    frame = {**echo(H1, family), **fields[forged]}
    assert network(state()).send("h1", frame) == []


@both_versions
@pytest.mark.parametrize("kind", ["request", "error", "own address", "another's MAC"])
def test_a_node_sends_echo_replies_of_the_vip_only(
    family: AddressFamily, kind: str
) -> None:
    control = family.control
    reply = icmp_from_node(C1N1, H1, control.echo_reply, family.version)
    fields: dict[str, Frame] = {
        "request": {control.type_field: control.echo_request},
        "error": {control.type_field: control.errors[0]},
        "own address": {
            family.source: number({4: C1N1.ipv4, 6: C1N1.ipv6}[family.version])
        },
        "another's MAC": {Field.ETH_SRC: number(C1N2.mac)},
    }
    assert network(state()).send("c1n1", {**reply, **fields[kind]}) == []
