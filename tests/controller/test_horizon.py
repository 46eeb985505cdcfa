"""JET's horizon: which connections are pinned, and that these are enough."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.flows.flow_tables import Table
from controller.pipeline.horizon import chassis_joined, fabric_joined, pinned_buckets
from controller.policies.questions import Memory
from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, network, state, then
from tests.controller.flow_table import Network
from tests.controller.frames import ACK, SYN, from_client
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FABRIC, Plan

CONSISTENT = [name for name, balancer in BALANCERS.items() if balancer.consistent]
consistent = pytest.mark.parametrize("name", CONSISTENT)
PORTS = range(40000, 40060)


@consistent
@settings(max_examples=20)
@given(data=st.data())
def test_who_joins_takes_pinned_buckets_only(name: str, data: st.DataObject) -> None:
    """Whoever it is, in any state that events have led to, and whoever joins after it."""
    balancer = BALANCERS[name]
    now = Arrangement(PLAN, ALL_IN_SERVICE)
    for _ in range(data.draw(st.integers(0, 4))):
        nodes = [n.name for n in now.plan.nodes if n.chassis == 1]
        out = [n for n in nodes if now.membership.nodes[n] is not NodeState.IN_SERVICE]
        choices = [("restore-node", n) for n in out] + [("add-node", "c1")]
        if len(out) + 1 < len(nodes):
            choices += [("drain-node", n) for n in nodes if n not in out]
        kind, target = data.draw(st.sampled_from(choices))
        now = EVENTS[kind].change(now, target)
    chassis = now.plan.chassis[0]
    away = [
        node.name
        for node in chassis.nodes
        if now.membership.state(node) is not NodeState.IN_SERVICE
    ]
    kind, target = data.draw(
        st.sampled_from([("add-node", "c1"), *(("restore-node", n) for n in away)])
    )
    joined = chassis_joined(chassis, now.membership.of_chassis(chassis), balancer)
    table = now.table("c1", balancer).members
    pinned = pinned_buckets(Memory.MOVABLE, table, joined)
    later = EVENTS[kind].change(now, target).table("c1", balancer).members
    moved = {b for b, (o, n) in enumerate(zip(table, later, strict=True)) if o != n}
    assert moved <= set(pinned)


@consistent
def test_a_fourth_node_puts_about_a_quarter_of_the_buckets_in_danger(name: str) -> None:
    balancer = BALANCERS[name]
    chassis = PLAN.chassis[0]
    table = Arrangement(PLAN, ALL_IN_SERVICE).table("c1", balancer).members
    joined = chassis_joined(chassis, ALL_IN_SERVICE.of_chassis(chassis), balancer)
    pinned = pinned_buckets(Memory.MOVABLE, table, joined)
    assert len(pinned) / len(table) == pytest.approx(1 / 4, abs=0.07)


def test_the_fabric_watches_failed_chassis_and_the_next_one() -> None:
    balancer = BALANCERS["resilient"]
    failed = ALL_IN_SERVICE.with_chassis_failed("c1")
    joined = fabric_joined(PLAN, failed, balancer)
    assert set(joined) == {"c1", "c2", "c3"}


@pytest.mark.parametrize("name", [n for n in BALANCERS if n not in CONSISTENT])
def test_with_a_balancer_that_moves_more_every_bucket_is_in_danger(name: str) -> None:
    assert fabric_joined(PLAN, ALL_IN_SERVICE, BALANCERS[name]) == ()
    assert pinned_buckets(Memory.MOVABLE, ("c1", "c2"), ()) == range(2)


def test_with_weights_every_bucket_is_in_danger() -> None:
    weighted = BALANCERS["rendezvous"].with_weights({"c1": 2})
    assert fabric_joined(PLAN, ALL_IN_SERVICE, weighted) == ()


def test_without_a_memory_of_connections_nothing_is_pinned() -> None:
    assert pinned_buckets(Memory.CURRENT_TABLES, ("c1", "c2"), ()) == ()
    assert pinned_buckets(Memory.EARLIER_TABLES, ("c1", "c2"), ()) == ()


def learned(of: Network, switch: str = FABRIC) -> int:
    """How many connections a switch has pinned."""
    entries = of.switches[switch].learned.values()
    return sum(entry.table == Table.LEARNED for entry in entries)


@consistent
@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("kind", "target"), [("add-node", "c1"), ("add-chassis", "c3")]
)
def test_jet_keeps_connections_from_a_new_member_with_few_pins(
    name: str, version: int, kind: str, target: str
) -> None:
    before = state(policy="jet", balancer=name, buckets=256)
    after = before.becoming(EVENTS[kind].change(before.arrangement, target))
    opened, moved = network(before), 0
    for sport in PORTS:
        opened.send("h1", from_client(H1, sport, version, SYN))
    pinned = network(after).recall(opened)
    without, joined = network(before), network(after)
    for sport in PORTS:
        frame = from_client(H1, sport, version, SYN)
        (syn,) = without.forget().delivered("h1", frame)
        (new,) = joined.forget().delivered("h1", frame)
        moved += syn.place != new.place
        (later,) = pinned.delivered("h1", from_client(H1, sport, version, ACK))
        assert later.place == syn.place
    assert moved > 0
    # The third chassis would take a third, the fourth node a quarter.
    assert 0 < learned(opened) < len(PORTS) / 2
    assert 0 < learned(opened, "c1") + learned(opened, "c2") < len(PORTS) / 2


@pytest.mark.parametrize("name", ["rendezvous", "anchor"])
def test_jet_pins_what_was_opened_before_its_member_was_near(name: str) -> None:
    """The second new node takes connections that were in no danger when they began: each
    is pinned by its next segment."""
    first = state(policy="jet", balancer=name, buckets=256)
    second = first.becoming(EVENTS["add-node"].change(first.arrangement, "c1"))
    third = second.becoming(EVENTS["add-node"].change(second.arrangement, "c1"))
    tables = network(first)
    places = {}
    for sport in PORTS:
        (syn,) = tables.delivered("h1", from_client(H1, sport, 4, SYN))
        places[sport] = syn.place
    for of in (second, third):
        tables = network(of).recall(tables)
        for sport, place in places.items():
            (found,) = tables.delivered("h1", from_client(H1, sport, 4, ACK))
            assert found.place == place


def test_jet_gives_a_drained_nodes_connections_to_another() -> None:
    """JET's assumption: who leaves is gone. Only pins of its buckets lead to it still."""
    before = state(policy="jet", balancer="rendezvous")
    drained = ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED)
    opened, places = network(before), {}
    for sport in PORTS:
        (syn,) = opened.delivered("h1", from_client(H1, sport, 4, SYN))
        places[sport] = syn.place
    pinned = network(then(before, drained)).recall(opened)
    moved = 0
    for sport, place in places.items():
        (found,) = pinned.delivered("h1", from_client(H1, sport, 4, ACK))
        moved += found.place != place
        assert found.place == place or place == "c1n2"
    assert moved > 0


def test_the_last_node_number_has_a_successor() -> None:
    """A full chassis: the plan refuses one more, and the horizon does not mind."""
    plan = Plan.of_shape([250], 1)
    membership = Membership.all_in_service(plan)
    assert chassis_joined(plan.chassis[0], membership, BALANCERS["anchor"])
