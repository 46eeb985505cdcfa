"""Resets simulated through the tables of the policies that choose the copies' targets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.flows.entries import Field
from controller.pipeline.cluster_state import ClusterState
from controller.policies.proactive import moved_away
from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, network, state, then
from tests.controller.flow_table import Arrival
from tests.controller.frames import (
    ACK,
    RST,
    SYN,
    Frame,
    connection,
    from_client,
    from_node,
    number,
)
from topologies.domain.arrangement import Arrangement
from topologies.domain.forecast import owner
from topologies.domain.history import KEPT_TABLES
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FANOUT_MAC, SECOND_CHANCE_MAC, Node, Plan

NODES = tuple(PLAN.nodes)
C1N2_DRAINED = ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED)

_MACS = (Field.ETH_SRC, Field.ETH_DST)

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
balancers = pytest.mark.parametrize("balancer", ["modulo", "rendezvous"])


def places(arrivals: Sequence[Arrival]) -> list[str]:
    """Where the frames arrived."""
    return [arrival.place for arrival in arrivals]


def owner_in(of: ClusterState, sport: int, version: int) -> str:
    """The node that h1's connection from that port belongs to."""
    one = connection(H1, sport, version)
    name = owner(of.plan, of.membership, of.balancer, one)
    assert name is not None
    return name


@both_versions
@pytest.mark.parametrize("origin", NODES, ids=lambda node: node.name)
def test_flood_others_copies_to_every_node_except_the_one_that_reset(
    version: int, origin: object
) -> None:
    node = next(one for one in NODES if one == origin)
    frame = from_node(node, H1, 40001, version, RST)
    walked = network(state(policy="flood-others")).delivered(node.name, frame)
    assert places(walked) == ["h1", *(n.name for n in NODES if n != node)]
    flooded = network(state()).delivered(node.name, frame)
    assert walked == [one for one in flooded if one.place != node.name]


def test_flood_others_copies_to_all_nodes_of_a_chassis_that_does_not_know_the_origin() -> (
    None
):
    frame = from_node(NODES[0], H1, 40001, 4, RST)
    tables = network(state(ALL_IN_SERVICE, "flood-others"))
    assert places(tables.delivered("c1n1", frame))[-3:] == ["c2n1", "c2n2", "c2n3"]


@both_versions
@balancers
def test_directed_copies_to_the_owner_before_the_event_and_to_at_most_one_more(
    version: int, balancer: str
) -> None:
    before = state(policy="directed", balancer=balancer)
    after = then(before, C1N2_DRAINED)
    switches = network(after)
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        if old == new:
            continue
        frame = from_node(PLAN.find_node(new), H1, sport, version, RST)
        client, *copies = switches.delivered(new, frame)
        assert client.place == "h1"
        assert sorted(places(copies)) == sorted({old, new})
        assert all(c.frame for c in copies)


@both_versions
def test_directed_hashes_at_both_tiers_as_the_clients_segment_did(version: int) -> None:
    plan, _ = PLAN.with_chassis(3)
    before = state(policy="directed")
    after = before.becoming(Arrangement(plan, Membership.all_in_service(plan)))
    switches = network(after)
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        frame = from_node(plan.find_node(new), H1, sport, version, RST)
        copied = places(switches.delivered(new, frame))[1:]
        assert {old, new} <= set(copied)
        assert len(copied) == len(set(copied)) <= 2


@both_versions
def test_directed_uses_four_earlier_tables_and_no_more(version: int) -> None:
    states = [state(policy="directed")]
    for _ in range(4):
        states.append(then(states[-1], states[-1].membership.with_reseeded("c1")))
    forgotten = then(states[-1], states[-1].membership.with_reseeded("c1"))
    lost = 0
    for sport in range(40000, 40060):
        first = owner_in(states[0], sport, version)
        new = owner_in(states[-1], sport, version)
        frame = from_node(PLAN.find_node(new), H1, sport, version, RST)
        copied = places(network(states[-1]).delivered(new, frame))
        assert first in copied
        assert len(copied) == len(set(copied))
        later = places(network(forgotten).delivered(new, frame))
        lost += first not in later
    assert lost > 0


@both_versions
def test_directed_forgets_no_owner_because_of_events_elsewhere(version: int) -> None:
    before = state(policy="directed")
    after = then(before, C1N2_DRAINED)
    for _ in range(20):
        after = then(after, after.membership.with_reseeded("c2"))
    moved = 0
    for sport in range(40000, 40060):
        first, new = (owner_in(of, sport, version) for of in (before, after))
        if not first.startswith("c1"):
            continue
        frame = from_node(PLAN.find_node(new), H1, sport, version, RST)
        assert first in places(network(after).delivered(new, frame))
        moved += first != new
    assert moved > 0


@both_versions
def test_directed_sends_no_copy_to_unreachable_nodes(version: int) -> None:
    before = state(policy="directed")
    after = then(before, ALL_IN_SERVICE.with_node("c1n2", NodeState.FAILED))
    switches = network(after)
    for sport in range(40000, 40060):
        new = owner_in(after, sport, version)
        frame = from_node(PLAN.find_node(new), H1, sport, version, RST)
        assert "c1n2" not in places(switches.delivered(new, frame))


def test_a_directed_copy_equals_a_flooded_one() -> None:
    after = then(state(policy="directed"), C1N2_DRAINED)
    frame = from_node(NODES[0], H1, 40001, 4, RST)
    flooded = network(state(C1N2_DRAINED)).delivered("c1n1", frame)
    for copy in network(after).delivered("c1n1", frame):
        assert copy in flooded


def test_directed_costs_a_tenth_of_flood_at_ten_chassis_of_fifteen_nodes() -> None:
    plan = Plan.build(chassis=10, nodes=15, clients=1)
    drained = Membership.all_in_service(plan).with_node("c1n2", NodeState.DRAINED)
    frame = from_node(plan.find_node("c1n1"), plan.clients[0], 40001, 4, RST)
    counts = {}
    for policy in ("flood", "directed"):
        before = state(Membership.all_in_service(plan), policy, plan=plan)
        arrivals = network(then(before, drained)).send("c1n1", frame)
        mark = number(FANOUT_MAC)
        counts[policy] = sum(mark in arrival.frame.values() for arrival in arrivals)
    assert counts["flood"] == 10 + 150
    assert counts["directed"] <= counts["flood"] / 10


@both_versions
def test_out_of_band_traps_the_reset_after_its_client_has_it_and_copies_nothing(
    version: int,
) -> None:
    frame = from_node(NODES[0], H1, 40001, version, RST)
    walked = network(state(policy="out-of-band")).send("c1n1", frame)
    assert places(walked) == ["fabric", "h1", "controller"]


def test_proactive_resets_exactly_the_moved_connections() -> None:
    held = [connection(H1, sport, v) for sport in range(40000, 40040) for v in (4, 6)]
    after = state(C1N2_DRAINED)
    for node in NODES:
        gone = moved_away(PLAN, C1N2_DRAINED, after.balancer, node.name, held)
        kept = [one for one in held if one not in gone]
        owners = {owner(PLAN, C1N2_DRAINED, after.balancer, one) for one in kept}
        assert owners <= {node.name}
        assert len(kept) == sum(
            owner_in(after, one.sport, 4 if "." in one.src else 6) == node.name
            for one in held
        )
    assert moved_away(PLAN, C1N2_DRAINED, after.balancer, "c1n2", held) == held


@both_versions
@balancers
def test_stateful_keeps_each_connection_where_its_syn_went(
    version: int, balancer: str
) -> None:
    before = state(policy="stateful", balancer=balancer)
    after = then(before, C1N2_DRAINED)
    opened, moved = network(before), 0
    for sport in range(40000, 40060):
        opened.send("h1", from_client(H1, sport, version, SYN))
    pinned = network(after).recall(opened)
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        moved += old != new
        segment = from_client(H1, sport, version, ACK)
        assert places(pinned.delivered("h1", segment)) == [old]
        # A restarted switch has no pins and uses the new table.
        assert places(network(after).delivered("h1", segment)) == [new]
        # So does a new connection, also from the same port.
        for flags in (SYN, ACK):
            again = from_client(H1, sport, version, flags)
            assert places(pinned.delivered("h1", again)) == [new]
    assert moved > 0


@both_versions
def test_stateful_ignores_a_pin_to_an_unreachable_member(version: int) -> None:
    before = state(policy="stateful")
    after = then(before, ALL_IN_SERVICE.with_node("c1n2", NodeState.FAILED))
    opened = network(before)
    for sport in range(40000, 40060):
        opened.send("h1", from_client(H1, sport, version, SYN))
    pinned = network(after).recall(opened)
    for sport in range(40000, 40060):
        old = owner_in(before, sport, version)
        to = places(pinned.delivered("h1", from_client(H1, sport, version)))
        assert to == ([owner_in(after, sport, version)] if old == "c1n2" else [old])


def redirected(frame: Frame, node: Node) -> Frame:
    """A stray as the guard of ``node`` redirects it: with other MACs."""
    macs = {
        Field.ETH_SRC: number(node.mac),
        Field.ETH_DST: number(SECOND_CHANCE_MAC),
    }
    return {**frame, **macs}


RESEEDED = [("fabric",), ("c1",), ("fabric", "c1", "c2")]
reseeded = pytest.mark.parametrize("switches", RESEEDED, ids=", ".join)


def with_other_bases(before: ClusterState, switches: Sequence[str]) -> ClusterState:
    """The next state, in which those switches hash with another basis."""
    membership = before.membership
    for switch in switches:
        membership = membership.with_reseeded(switch)
    return then(before, membership)


@both_versions
@balancers
@reseeded
def test_after_a_reseed_directed_copies_go_by_each_tables_own_basis(
    version: int, balancer: str, switches: Sequence[str]
) -> None:
    # The bases before are not the first ones either, so a fixed basis would fail.
    before = with_other_bases(state(policy="directed", balancer=balancer), RESEEDED[-1])
    after = with_other_bases(before, switches)
    tables, moved = network(after), 0
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        moved += old != new
        frame = from_node(PLAN.find_node(new), H1, sport, version, RST)
        assert {old, new} <= set(places(tables.delivered(new, frame))[1:])
    assert moved > 0


@both_versions
@reseeded
def test_after_a_reseed_a_second_chance_is_at_the_earlier_basis_owner(
    version: int, switches: Sequence[str]
) -> None:
    before = with_other_bases(state(policy="second-chance"), RESEEDED[-1])
    after = with_other_bases(before, switches)
    tables, moved = network(after), 0
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        if old == new:
            continue
        (stray,) = tables.delivered("h1", from_client(H1, sport, version, ACK))
        assert stray.place == new
        (brought,) = tables.delivered(new, redirected(stray.frame, PLAN.find_node(new)))
        assert brought.place == old
        moved += 1
    assert moved > 0


@both_versions
@balancers
@pytest.mark.parametrize("event", ["drain", "grow"])
def test_a_second_chance_is_at_the_owner_before_the_event(
    version: int, balancer: str, event: str
) -> None:
    before = state(policy="second-chance", balancer=balancer)
    after = then(before, C1N2_DRAINED)
    if event == "grow":
        plan, _ = PLAN.with_chassis(3)
        everybody = Membership.all_in_service(plan)
        after = before.becoming(Arrangement(plan, everybody))
    switches = network(after)
    for sport in range(40000, 40060):
        old, new = (owner_in(of, sport, version) for of in (before, after))
        if old == new:
            continue
        segment = from_client(H1, sport, version, ACK)
        (stray,) = switches.delivered("h1", segment)
        assert stray.place == new
        again = redirected(stray.frame, after.plan.find_node(new))
        (brought,) = switches.delivered(new, again)
        assert brought.place == old
        macs = (number(SECOND_CHANCE_MAC), number(PLAN.find_node(old).mac))
        assert (brought.frame[Field.ETH_SRC], brought.frame[Field.ETH_DST]) == macs
        payload = {f: v for f, v in segment.items() if f not in _MACS}
        assert payload.items() <= brought.frame.items()


@both_versions
def test_if_the_earlier_owner_is_gone_another_node_gets_the_stray(version: int) -> None:
    before = state(policy="second-chance")
    membership = ALL_IN_SERVICE.with_node("c1n2", NodeState.FAILED)
    after = then(before, membership.with_chassis_failed("c2"))
    switches = network(after)
    for sport in range(40000, 40060):
        new = owner_in(after, sport, version)
        again = redirected(from_client(H1, sport, version), PLAN.find_node(new))
        (brought,) = switches.delivered(new, again)
        assert brought.place in ("c1n1", "c1n3")


@both_versions
def test_the_answer_to_a_redirected_stray_goes_only_to_the_client(version: int) -> None:
    answer = from_node(NODES[0], H1, 40001, version, RST)
    answer = {**answer, Field.ETH_DST: number(SECOND_CHANCE_MAC)}
    switches = network(state(policy="second-chance"))
    assert places(switches.delivered("c1n1", answer)) == ["h1"]


@both_versions
def test_no_client_can_redirect_a_stray_to_a_node(version: int) -> None:
    frame = from_client(H1, 40001, version)
    for field in _MACS:
        forged = {**frame, field: number(SECOND_CHANCE_MAC)}
        switches = network(state(policy="second-chance"))
        assert switches.delivered("h1", forged) == []


@pytest.mark.parametrize("events", [0, 1, 6])
def test_a_state_with_a_history_survives_its_file(events: int) -> None:
    one = state(policy="directed")
    for _ in range(events):
        one = then(one, one.membership.with_reseeded("c1"))
    assert ClusterState.from_json(one.to_json()) == one
    assert len(one.history) == events


def test_a_history_holds_what_some_switch_needs_and_no_more() -> None:
    one = state(policy="directed")
    for _ in range(2 * KEPT_TABLES):
        one = then(one, one.membership.with_reseeded("c1"))
        one = then(one, one.membership)
    assert len(one.history) == KEPT_TABLES
    drained = then(one, C1N2_DRAINED)
    assert len(drained.history) == KEPT_TABLES
