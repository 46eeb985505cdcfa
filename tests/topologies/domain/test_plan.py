"""The plan: names, addresses and numbers are unique, valid and stable."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    MAX_CHASSIS,
    MAX_CLIENTS,
    MAX_NODES,
    PREFIX4,
    PREFIX6,
    UPLINK_PORT,
    VIP4,
    VIP6,
    VIP_MAC,
    Chassis,
    Client,
    Node,
    Plan,
    PlanError,
    client_address,
    vip,
)

LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ - 1

plans = st.builds(
    Plan.of_shape,
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.integers(1, 5),
)
#: Small plans, and those at the end of every range.
all_plans = plans | st.just(Plan.build(MAX_CHASSIS, 2, MAX_CLIENTS))
all_plans |= st.just(Plan.build(1, MAX_NODES, 1))


def interfaces(plan: Plan) -> Iterator[str]:
    for client in plan.clients:
        yield from (client.interface, client.fabric_interface)
    for chassis in plan.chassis:
        yield from (chassis.fabric_interface, chassis.uplink_interface)
    for node in plan.nodes:
        yield from (node.interface, node.switch_interface)


def hosts(plan: Plan) -> list[Client | Node]:
    return [*plan.clients, *plan.nodes]


def unique(items: Iterable[object]) -> bool:
    items = list(items)
    return len(set(items)) == len(items)


@given(all_plans)
def test_names_are_unique(plan: Plan) -> None:
    assert unique([*plan.switches, *(host.name for host in hosts(plan))])
    assert unique(interfaces(plan))


@given(all_plans)
def test_every_interface_name_is_valid_for_the_kernel(plan: Plan) -> None:
    assert all(len(name) <= LONGEST_INTERFACE_NAME for name in interfaces(plan))


@given(all_plans)
def test_macs_are_unique_and_locally_administered_unicast(plan: Plan) -> None:
    macs = [VIP_MAC, GATEWAY_MAC, FANOUT_MAC, *(host.mac for host in hosts(plan))]
    assert unique(macs)
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)


@given(all_plans)
def test_addresses_are_unique_and_on_link(plan: Plan) -> None:
    for address_of, of_vip, prefix in (
        ("ipv4", VIP4, PREFIX4),
        ("ipv6", VIP6, PREFIX6),
    ):
        addresses = [of_vip, *(getattr(host, address_of) for host in hosts(plan))]
        network = ipaddress.ip_network(f"{of_vip}/{prefix}", strict=False)
        assert unique(addresses)
        assert all(ipaddress.ip_address(each) in network for each in addresses)


@given(all_plans)
def test_datapath_ids_are_unique(plan: Plan) -> None:
    assert unique(list(plan.switches.values()))


@given(all_plans)
def test_ports_of_each_switch_are_unique(plan: Plan) -> None:
    below = [LOOP_OUT_PORT, LOOP_IN_PORT, *(each.fabric_port for each in plan.chassis)]
    assert unique(below + [each.fabric_port for each in plan.clients])
    for chassis in plan.chassis:
        assert unique([UPLINK_PORT, *(node.port for node in chassis.nodes)])


@given(plans, st.data())
def test_a_new_node_renumbers_nothing(plan: Plan, data: st.DataObject) -> None:
    chassis = data.draw(st.sampled_from(plan.chassis))
    grown, node = plan.with_node(chassis.name)
    assert set(grown.nodes) - set(plan.nodes) == {node}
    assert set(plan.nodes) < set(grown.nodes)
    assert node.chassis == chassis.number
    assert (grown.clients, grown.switches) == (plan.clients, plan.switches)


@given(plans, st.integers(1, 5))
def test_a_new_chassis_renumbers_nothing(plan: Plan, nodes: int) -> None:
    grown, chassis = plan.with_chassis(nodes)
    assert grown.chassis == (*plan.chassis, chassis)
    assert len(chassis.nodes) == nodes
    assert grown.clients == plan.clients


@given(all_plans)
def test_json_round_trip(plan: Plan) -> None:
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@given(all_plans)
def test_everything_is_found_by_its_name(plan: Plan) -> None:
    assert [plan.find_node(node.name) for node in plan.nodes] == list(plan.nodes)
    assert tuple(plan.find_chassis(each.name) for each in plan.chassis) == plan.chassis


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"chassis": 0}, "chassis: 0 is out of range, 1 to 250"),
        ({"nodes": 251}, "nodes: 251 is out of range, 1 to 250"),
        ({"clients": -1}, "clients: -1 is out of range, 1 to 250"),
    ],
    ids=["no chassis", "too many nodes", "negative clients"],
)
def test_a_size_out_of_range_is_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.build(**sizes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c9n1", "nodes are named c1n1 to c2n3"),
        ("c1n4", "c1 has n1 to n3"),
        ("c1n0", "nodes are named"),
        ("h1", "nodes are named"),
        ("", "nodes are named"),
    ],
)
def test_an_unknown_node_is_refused_with_a_list(name: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.build().find_node(name)


@pytest.mark.parametrize("name", ["c3", "c0", "c01", "fabric", "c1n1"])
def test_an_unknown_chassis_is_refused_with_a_list(name: str) -> None:
    with pytest.raises(PlanError, match="there are c1 to c2"):
        Plan.build().find_chassis(name)


def test_growth_stops_at_the_last_number() -> None:
    full = Plan.build(chassis=1, nodes=MAX_NODES)
    with pytest.raises(PlanError, match="nodes: 251"):
        full.with_node("c1")


def test_addresses_by_ip_version() -> None:
    client = Plan.build().clients[1]
    assert (vip(4), vip(6)) == ("10.0.0.1", "fd00:10::1")
    assert client_address(client, 4) == "10.1.0.2"
    assert client_address(client, 6) == "fd00:10:1::2"


def test_the_documented_example() -> None:
    chassis: Chassis = Plan.build().chassis[0]
    node = chassis.nodes[1]
    assert (node.name, node.ipv4, node.ipv6) == ("c1n2", "10.2.1.2", "fd00:10:2:1::2")
    assert (node.mac, node.port) == ("02:02:00:00:01:02", 2)
    assert (chassis.dpid, chassis.fabric_port) == (0xC01, 1)
