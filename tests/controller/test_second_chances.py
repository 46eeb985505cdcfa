"""Whom a stray is passed on to, against a brute-force history of its connection's owners."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.flows.entries import Field, FlowEntry
from controller.flows.flow_tables import Table
from controller.pipeline.cluster_state import ClusterState
from tests.controller.clusters import H1, network, state, then
from tests.controller.flow_table import Arrival, Network
from tests.controller.frames import connection, from_client, from_node, number
from topologies.domain.arrangement import Arrangement
from topologies.domain.forecast import owner
from topologies.domain.hashing import symmetric_l4
from topologies.domain.history import KEPT_TABLES, LATEST, MAX_HISTORY
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FABRIC, SECOND_CHANCE_MAC, VIP_MAC, Plan

#: A nightly run takes more.
EXAMPLES = int(os.environ.get("RESETBED_HISTORIES", "60"))
BALANCERS = ("modulo", "rendezvous")
SPORTS = range(40000, 40006)
#: Small, so that a few events do everything to a bucket.
PLAN = Plan.build(chassis=2, nodes=2, clients=1)
_NODES = tuple(PLAN.nodes)
_STATES = (NodeState.IN_SERVICE, NodeState.DRAINED, NodeState.FAILED)
_ANSWERED = number(SECOND_CHANCE_MAC)

Event = Callable[[Arrangement], Arrangement]


class Walk(NamedTuple):
    """Who gets a stray: its present owner, and those to whom it is passed on."""

    nodes: list[str]
    last: Arrival


def _member(change: Callable[[Membership], Membership]) -> Event:
    return lambda old: Arrangement(old.plan, change(old.membership))


def _node(name: str, to: NodeState) -> Event:
    return _member(lambda old: old.with_node(name, to))


def _reseed(switch: str) -> Event:
    return _member(lambda old: old.with_reseeded(switch))


def _everybody(to: NodeState) -> Event:
    def happens(old: Arrangement) -> Arrangement:
        membership = old.membership
        for node in old.plan.nodes:
            membership = membership.with_node(node.name, to)
        return Arrangement(old.plan, membership)

    return happens


def _reseed_all(old: Arrangement) -> Arrangement:
    membership = old.membership
    for switch in (FABRIC, *(chassis.name for chassis in old.plan.chassis)):
        membership = membership.with_reseeded(switch)
    return Arrangement(old.plan, membership)


def _grow(old: Arrangement) -> Arrangement:
    if len(old.plan.chassis) > len(PLAN.chassis):
        return old
    return Arrangement(old.plan.with_chassis(2)[0], old.membership)


_CHASSIS: tuple[Callable[[Membership, str], Membership], ...] = (
    Membership.with_chassis_failed,
    Membership.with_chassis_restored,
    Membership.with_chassis_cut_off,
    Membership.with_chassis_connected,
)
EVENTS: tuple[Event, ...] = (
    *(_node(node.name, to) for node in _NODES for to in _STATES),
    *(
        _member(lambda old, how=how, name=name: how(old, name))  # type: ignore[misc]
        for how in _CHASSIS
        for name in ("c1", "c2")
    ),
    *(_reseed(switch) for switch in (FABRIC, "c1", "c2")),
    *(_everybody(to) for to in (NodeState.IN_SERVICE, NodeState.DRAINED) * 2),
    *(_reseed_all, _reseed_all, _grow),
)


def histories(longest: int) -> st.SearchStrategy[list[ClusterState]]:
    """States, one after the other, each with another arrangement than the last."""

    def build(balancer: str, seed: int, number: int) -> list[ClusterState]:
        rng = Random(seed)
        states = [fresh(balancer)]
        for _ in range(number):
            new = rng.choice(EVENTS)(states[-1].arrangement)
            if new != states[-1].arrangement:
                states.append(states[-1].becoming(new))
        return states

    number = st.integers(1, longest)
    return st.builds(build, st.sampled_from(BALANCERS), st.integers(0), number)


def fresh(balancer: str = "modulo") -> ClusterState:
    """Everybody in service."""
    everybody = Membership.all_in_service(PLAN)
    return state(everybody, "second-chance", balancer, PLAN)


def owner_in(of: ClusterState, sport: int, version: int) -> str | None:
    """The node that h1's connection from that port belongs to."""
    return owner(of.plan, of.membership, of.balancer, connection(H1, sport, version))


def owners(states: Sequence[ClusterState], sport: int, version: int) -> list[str]:
    """Who owned the connection, the present owner first, each change once."""
    found = [owner_in(of, sport, version) for of in reversed(states)]
    return [
        name
        for i, name in enumerate(found)
        if name is not None and (i == 0 or name != found[i - 1])
    ]


def remembered(states: Sequence[ClusterState], sport: int) -> Sequence[ClusterState]:
    """The last states: no switch changed the connection's bucket too often in them."""
    plan = states[-1].plan
    one = connection(H1, sport)
    least = max(0, len(states) - KEPT_TABLES - 1)
    for switch in (FABRIC, *(chassis.name for chassis in plan.chassis)):
        changes, last = 0, None
        for position in range(len(states) - 1, least - 1, -1):
            of = states[position]
            table = of.arrangement.table(switch, of.balancer)
            hashed = symmetric_l4(one, H1.mac, VIP_MAC, table.basis)
            member = table.members[hashed % len(table)] if table else None
            found = (table.basis, len(table), member)
            changes += last not in (None, found)
            last = found
            if changes > MAX_HISTORY:
                least = max(least, position + 1)
    return states[least:]


def reachable(names: Sequence[str], of: ClusterState) -> list[str]:
    """Those that are in reach, each once, in the same order."""
    there = {
        node.name
        for chassis in of.membership.reachable_chassis(of.plan)
        for node in of.membership.reachable_nodes(chassis)
    }
    return [name for name in dict.fromkeys(names) if name in there]


def walk(switches: Network, of: ClusterState, sport: int, version: int) -> Walk:
    """The way of a stray that no node recognises, as the guards redirect it."""
    (at,) = switches.delivered("h1", from_client(H1, sport, version))
    nodes = [at.place]
    while at.frame[Field.ETH_SRC] != _ANSWERED:
        source = at.frame[Field.ETH_SRC]
        timed = source & ~(0xFFFF << 16) == _ANSWERED
        macs = {
            Field.ETH_SRC: number(of.plan.find_node(at.place).mac),
            Field.ETH_DST: source if timed else _ANSWERED,
        }
        (at,) = switches.delivered(at.place, {**at.frame, **macs})
        nodes.append(at.place)
        assert len(nodes) < 200, "passed on without end"
    return Walk(nodes, at)


both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@both_versions
@settings(max_examples=EXAMPLES, deadline=None)
@given(states=histories(MAX_HISTORY))
def test_a_stray_goes_to_every_earlier_owner_the_latest_first(
    version: int, states: list[ClusterState]
) -> None:
    present = states[-1]
    switches = network(present)
    for sport in SPORTS:
        if owner_in(present, sport, version) is None:
            continue
        expected = reachable(owners(states, sport, version), present)
        nodes = walk(switches, present, sport, version).nodes
        assert list(dict.fromkeys(nodes)) == expected
        assert len(nodes) <= len(states) + 1


@settings(max_examples=EXAMPLES, deadline=None)
@given(states=histories(40))
def test_of_a_long_history_the_last_owners_are_the_first_that_are_asked(
    states: list[ClusterState],
) -> None:
    present = states[-1]
    switches = network(present)
    for sport in SPORTS:
        if owner_in(present, sport, 4) is None:
            continue
        expected = reachable(owners(remembered(states, sport), sport, 4), present)
        nodes = walk(switches, present, sport, 4).nodes
        assert list(dict.fromkeys(nodes))[: len(expected)] == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(states=histories(12), data=st.data())
def test_an_event_changes_no_entry_of_a_switch_whose_table_stays(
    states: list[ClusterState], data: st.DataObject
) -> None:
    before = states[-1]
    new = data.draw(st.sampled_from(EVENTS))(before.arrangement)
    after = before.becoming(new)
    for name, entries in before.tables().items():
        table, now = (
            of.table(name, before.balancer) for of in (before.arrangement, new)
        )
        if table == now:
            assert _of_buckets(entries) == _of_buckets(after.tables()[name])


def _of_buckets(entries: Sequence[FlowEntry]) -> set[FlowEntry]:
    tables = (Table.REIGN, Table.PREVIOUS_OWNER, Table.LATER)
    return {entry for entry in entries if entry.table in tables}


def test_a_bucket_keeps_its_entries_while_others_of_its_switch_move() -> None:
    one = fresh("rendezvous")
    for number_ in range(KEPT_TABLES - 1):
        to = NodeState.IN_SERVICE if number_ % 2 else NodeState.DRAINED
        after = then(one, one.membership.with_node("c1n2", to))
        tables = [of.arrangement.table("c1", of.balancer) for of in (one, after)]
        before, now = (_by_bucket(of.tables()["c1"]) for of in (one, after))
        stay = [
            bucket
            for bucket, (old, new) in enumerate(zip(*tables, strict=True))
            if old == new
        ]
        assert 0 < len(stay) < len(tables[0])
        assert [before[bucket] for bucket in stay] == [now[bucket] for bucket in stay]
        one = after


def _by_bucket(entries: Sequence[FlowEntry]) -> dict[int, set[FlowEntry]]:
    found: dict[int, set[FlowEntry]] = {}
    for entry in entries:
        if entry.table == Table.PREVIOUS_OWNER:
            (bucket,) = (value for _, value in entry.match if isinstance(value, int))
            found.setdefault(bucket, set()).add(entry)
    return found


@both_versions
def test_many_events_elsewhere_make_no_owner_forgotten(version: int) -> None:
    before = fresh()
    after = then(before, before.membership.with_node("c1n2", NodeState.DRAINED))
    for _ in range(40):
        after = then(after, after.membership.with_reseeded("c2"))
    switches, moved = network(after), 0
    for sport in range(40000, 40060):
        first = owner_in(before, sport, version)
        assert first
        if first.startswith("c1") and first != owner_in(after, sport, version):
            assert walk(switches, after, sport, version).nodes[1] == first
            moved += 1
    assert moved > 0


@pytest.mark.parametrize("balancer", BALANCERS)
def test_nobody_is_asked_who_had_a_bucket_while_nothing_was_in_service(
    balancer: str,
) -> None:
    def events() -> Iterator[Membership]:
        yield (only := before.membership.with_chassis_failed("c2"))
        yield (cut := only.with_chassis_cut_off("c1"))
        yield cut.with_node("c1n1", NodeState.DRAINED)
        yield cut
        yield only

    before = fresh(balancer)
    states = [before]
    for membership in events():
        states.append(then(states[-1], membership))
    assert states[2].arrangement.table(FABRIC, before.balancer).members == ()
    for sport in range(40000, 40030):
        nodes = walk(network(states[-1]), states[-1], sport, 4).nodes
        assert set(nodes) == {owner_in(states[-1], sport, 4)}


def test_a_clock_that_ends_begins_anew_and_no_owner_is_forgotten() -> None:
    before = fresh()
    drained = then(before, before.membership.with_node("c1n2", NodeState.DRAINED))
    late = drained.becoming(drained.arrangement)
    late = ClusterState.from_json({**late.to_json(), "ended": [LATEST]})
    after = then(late, late.membership.with_reseeded("c2"))
    assert after.ended == (2, 1)
    for sport in range(40000, 40030):
        nodes = walk(network(after), after, sport, 4).nodes
        expected = owners([before, drained, after], sport, 4)
        assert list(dict.fromkeys(nodes)) == list(dict.fromkeys(expected))


@both_versions
def test_an_answer_on_the_way_goes_to_the_client(version: int) -> None:
    """Also that of a node that was not the last to be asked."""
    one = fresh()
    for time in (0, 1, LATEST):
        answer = {
            **from_node(_NODES[0], H1, 40001, version),
            Field.ETH_DST: _ANSWERED | time << 16,
        }
        arrived = network(one).delivered("c1n1", answer)
        assert [arrival.place for arrival in arrived] == ["h1"]
