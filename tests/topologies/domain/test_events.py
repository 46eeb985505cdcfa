"""Membership events as pure changes: their results, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS, EventError
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import Plan, PlanError


def fresh(chassis: int = 2, nodes: int = 3) -> Arrangement:
    plan = Plan.build(chassis, nodes, 1)
    return Arrangement(plan, Membership.all_in_service(plan))


def fresh_state() -> ClusterState:
    """That arrangement under flood."""
    new = fresh()
    return ClusterState(
        new.plan, new.membership, POLICIES["flood"], BALANCERS["modulo"]
    )


def after(state: Arrangement, *events: str) -> Arrangement:
    for event in events:
        kind, target = event.split()
        state = EVENTS[kind].change(state, target)
    return state


def serving(state: Arrangement) -> set[str]:
    return {
        node.name
        for chassis in state.plan.chassis
        for node in state.membership.serving_nodes(chassis)
    }


def reachable(state: Arrangement) -> set[str]:
    return {
        node.name
        for chassis in state.plan.chassis
        for node in state.membership.reachable_nodes(chassis)
    }


C1 = {"c1n1", "c1n2", "c1n3"}
ALL = C1 | {"c2n1", "c2n2", "c2n3"}


@pytest.mark.parametrize(
    ("events", "serve", "reach"),
    [
        (["drain-node c1n2"], ALL - {"c1n2"}, ALL),
        (["fail-node c1n2"], ALL - {"c1n2"}, ALL - {"c1n2"}),
        (["drain-node c1n2", "fail-node c1n2"], ALL - {"c1n2"}, ALL - {"c1n2"}),
        (["fail-node c1n2", "restore-node c1n2"], ALL, ALL),
        (["drain-node c1n2", "restore-node c1n2"], ALL, ALL),
        (["add-node c2"], ALL | {"c2n4"}, ALL | {"c2n4"}),
        (["add-node c2n4"], ALL | {"c2n4"}, ALL | {"c2n4"}),
        (["fail-chassis c2"], {"c1n1", "c1n2", "c1n3"}, {"c1n1", "c1n2", "c1n3"}),
        (["fail-chassis c2", "restore-chassis c2"], ALL, ALL),
        (
            ["fail-node c2n1", "fail-chassis c2", "restore-chassis c2"],
            ALL - {"c2n1"},
            ALL - {"c2n1"},
        ),
        (["add-chassis c3"], ALL | {"c3n1", "c3n2", "c3n3"}, None),
        (["uplink-down c2"], C1, C1),
        (["uplink-down c2", "uplink-up c2"], ALL, ALL),
        (["uplink-down c2", "fail-chassis c2", "uplink-up c2"], C1, C1),
        (["uplink-down c2", "fail-chassis c2", "restore-chassis c2"], C1, C1),
        (
            ["uplink-down c2", "fail-node c2n1", "uplink-up c2"],
            ALL - {"c2n1"},
            ALL - {"c2n1"},
        ),
        (["reseed fabric", "reseed c1", "reseed all"], ALL, ALL),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_the_resulting_state(
    events: list[str], serve: set[str], reach: set[str] | None
) -> None:
    state = after(fresh(), *events)
    assert serving(state) == serve
    assert reachable(state) == (serve if reach is None else reach)


@pytest.mark.parametrize(
    ("before", "refused", "message"),
    [
        ([], "drain-node c9n1", "no node 'c9n1'"),
        ([], "drain-node c1n9", "c1 has n1 to n3"),
        ([], "fail-chassis c3", "there are c1 to c2"),
        ([], "add-node c1n6", "the next node of c1 is c1n4"),
        ([], "add-chassis c4", "the next chassis is c3"),
        ([], "restore-node c1n1", "in service already"),
        ([], "restore-chassis c1", "has not failed"),
        (["drain-node c1n1"], "drain-node c1n1", "drained, not in service"),
        (["fail-node c1n1"], "fail-node c1n1", "failed already"),
        (["fail-chassis c1"], "fail-chassis c1", "failed already"),
        (["fail-chassis c1"], "fail-chassis c2", "no node would be left"),
        (["fail-chassis c1"], "restore-node c1n1", "restore"),
        (
            ["fail-chassis c1"],
            "drain-node c1n1",
            "chassis c1 has failed; restore-chassis c1 first",
        ),
        (["fail-chassis c1"], "add-node c1", "c1 has failed"),
        (["fail-chassis c1"], "fail-node c1n1", "with its chassis c1"),
        (["fail-chassis c1"], "uplink-down c1", "c1 has failed"),
        (["fail-chassis c1"], "reseed c1", "restore-chassis c1 first"),
        ([], "uplink-down c3", "there are c1 to c2"),
        ([], "uplink-up c1", "its uplink is up"),
        ([], "reseed h1", "no chassis 'h1'"),
        (["uplink-down c1"], "uplink-down c1", "cut off; uplink-up c1 first"),
        (["uplink-down c1"], "uplink-down c2", "no node would be left"),
        (["uplink-down c1"], "drain-node c1n1", "uplink-up c1 first"),
        (["uplink-down c1"], "restore-node c1n1", "uplink-up c1 first"),
        (["uplink-down c1"], "add-node c1", "uplink-up c1 first"),
        (["uplink-down c1"], "reseed c1", "uplink-up c1 first"),
    ],
)
def test_impossible_events_are_refused(
    before: list[str], refused: str, message: str
) -> None:
    state = after(fresh(), *before)
    with pytest.raises((EventError, PlanError)) as error:
        after(state, refused)
    assert message in str(error.value)


@given(st.data())
def test_any_sequence_of_events_keeps_a_node_in_service(data: st.DataObject) -> None:
    state = fresh(2, 2)
    targets = [
        "fabric",
        "all",
        "c1",
        "c2",
        "c3",
        "c1n1",
        "c1n2",
        "c2n1",
        "c2n2",
        "c1n3",
        "c2n3",
    ]
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(st.sampled_from(sorted(EVENTS)))
        target = data.draw(st.sampled_from(targets))
        try:
            new = EVENTS[kind].change(state, target)
        except (EventError, PlanError):
            continue
        assert serving(new)
        assert serving(new) <= reachable(new)
        assert set(new.membership.nodes) == {n.name for n in new.plan.nodes}
        state = new


def test_a_change_does_not_modify_the_old_state() -> None:
    state = fresh()
    after(state, "drain-node c1n1", "add-chassis c3")
    assert state == replace(fresh())
    assert state.membership.state(state.plan.find_node("c1n1")) is NodeState.IN_SERVICE


def test_nodes_behind_a_down_uplink_keep_power() -> None:
    cut = after(fresh(), "uplink-down c2", "fail-node c2n1")
    chassis = cut.plan.find_chassis("c2")
    powered = [node.name for node in cut.membership.powered_nodes(chassis)]
    assert powered == ["c2n2", "c2n3"]


def test_all_reseeds_every_reachable_switch_and_no_other() -> None:
    seeded = after(fresh(3), "uplink-down c2", "reseed all").membership.reseeds
    assert seeded == {"fabric": 1, "c1": 1, "c3": 1}
