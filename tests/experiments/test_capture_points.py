"""The captured interfaces are those that the proof of the claim needs."""

from __future__ import annotations

import pytest

from experiments.analysis.reset_traces import PortRoles
from experiments.record.capture_points import (
    capture_points,
    chassis_points,
    node_point,
)
from topologies.domain.plan import Plan


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 2), (10, 15, 4)])
def test_every_place_of_a_trail_is_captured_once(size: tuple[int, int, int]) -> None:
    plan = Plan.build(*size)
    places = PortRoles.of(plan)
    labels = [point.label for point in capture_points(plan)]
    assert sorted(labels) == sorted(
        [
            *places.nodes,
            *places.uplinks,
            *places.chassis_ports,
            *places.client_ports,
        ]
    )


def test_added_members_have_the_same_capture_points_as_initial_ones() -> None:
    plan = Plan.build(2, 3, 2)
    more, node = plan.with_node("c1")
    larger, chassis = more.with_chassis(3)
    assert {*capture_points(plan), node_point(node), *chassis_points(chassis)} == set(
        capture_points(larger)
    )


def test_only_nodes_and_clients_need_more_than_resets() -> None:
    plan = Plan.build(2, 3, 2)
    clients = PortRoles.of(plan).client_ports
    for point in capture_points(plan):
        at_client = "data" if point.label in clients else "resets"
        assert point.filter == ("strays" if point.kind == "node" else at_client)
