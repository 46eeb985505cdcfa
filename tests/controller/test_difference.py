"""Changes and their order; the entries' identity; the state's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows.entries import (
    Field,
    FlowEntry,
    GotoTable,
    Masked,
    MaskedMac,
    Move,
    Multipath,
    Output,
    SetField,
    Value,
)
from controller.pipeline.cluster_state import ClusterState
from controller.pipeline.difference import difference, tiers
from controller.policies import POLICIES
from tests.controller.clusters import ALL_IN_SERVICE, PLAN, state, then
from topologies.domain.membership import Membership, NodeState

ENTRIES = [
    FlowEntry.of(table, priority, {Field.REG0: value}, (Output(port),), "an entry")
    for table in (0, 2)
    for priority in (0, 100)
    for value in (0, 1)
    for port in (1, 2)
]
entry_lists = st.lists(st.sampled_from(ENTRIES), unique=True)


@given(installed=entry_lists, wanted=entry_lists)
def test_the_difference_turns_installed_into_desired_entries(
    installed: list[FlowEntry], wanted: list[FlowEntry]
) -> None:
    change = difference(installed, wanted)
    assert (set(installed) - set(change.delete)) | set(change.add) == set(wanted)
    assert not set(change.add) & set(installed)
    assert not set(change.delete) & set(wanted)
    assert bool(change) == (set(installed) != set(wanted))


def test_an_entry_is_identified_by_content_not_by_name() -> None:
    first, second = (
        FlowEntry.of(1, 100, {Field.REG0: 3}, (Output(7),), name) for name in "ab"
    )
    other = FlowEntry.of(1, 100, {Field.REG0: 3}, (Output(8),), "a")
    assert first.key == second.key
    assert first.key != other.key


def test_no_two_entries_of_a_switch_have_one_key() -> None:
    for policy in ("drop", "client-only", "flood"):
        for entries in state(policy=policy, balancer="rendezvous").tables().values():
            assert len({entry.key for entry in entries}) == len(entries)


def test_an_entrys_text_is_ovs_ofctls() -> None:
    match: dict[Field, Value] = {
        Field.ETH_DST: MaskedMac("02:00:00:00:00:0e", "ff:ff:00:00:ff:ff"),
        Field.IP_PROTO: 6,
        Field.ETH_TYPE: 0x0800,
        Field.TCP_FLAGS: Masked(0x04, 0x14),
        Field.VLAN_TCI: Masked(0, 0x1FFF),
        Field.IP_FRAG: Masked(0, 3),
    }
    actions = (
        SetField(Field.ETH_SRC, "02:00:00:00:00:0f"),
        Move(Field.TCP_SRC, Field.REG0, 16),
        Move(Field.REG1, Field.ETH_DST, 16, destination_bit=16),
        Multipath(1, 3),
        GotoTable(2),
    )
    entry = FlowEntry.of(0, 300, match, actions, "")
    assert entry.text == (
        "table=0, priority=300,tcp,vlan_tci=0x0/0x1fff,"
        "eth_dst=02:00:00:00:00:0e/ff:ff:00:00:ff:ff,ip_frag=no,tcp_flags=+rst-ack "
        "actions=set_field:02:00:00:00:00:0f->eth_src,move:tcp_src[0..15]->reg0[0..15],"
        "move:reg1[0..15]->eth_dst[16..31],"
        "multipath(symmetric_l4,1,modulo_n,3,0,reg0[0..15]),goto_table:2"
    )
    assert FlowEntry.of(0, 0, {}, (), "").text == "table=0, priority=0 actions=drop"


def drained(chassis: str) -> Membership:
    """No node of that chassis in service."""
    membership = ALL_IN_SERVICE
    for node in PLAN.find_chassis(chassis).nodes:
        membership = membership.with_node(node.name, NodeState.DRAINED)
    return membership


@pytest.mark.parametrize(
    ("membership", "expected"),
    [
        (ALL_IN_SERVICE, (("c1", "c2"), ("fabric",))),
        (drained("c1"), (("c2",), ("fabric",), ("c1",))),
        (ALL_IN_SERVICE.with_chassis_failed("c1"), (("c2",), ("fabric",))),
        (drained("c2").with_chassis_failed("c1"), (("fabric",), ("c2",))),
        (ALL_IN_SERVICE.with_chassis_cut_off("c2"), (("c1",), ("fabric",))),
    ],
    ids=["all serve", "one leaves", "one has failed", "nobody serves", "one cut off"],
)
def test_chassis_that_serve_are_ready_before_the_fabric_and_others_wait_for_it(
    membership: Membership, expected: tuple[tuple[str, ...], ...]
) -> None:
    assert tiers(state(membership)) == expected


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    membership = drained("c1").with_chassis_failed("c2")
    written = state(membership, policy="client-only", balancer="rendezvous")
    written.write(tmp_path / "state.json")
    assert ClusterState.read(tmp_path / "state.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("key", ["policy", "balancer"])
def test_an_unknown_name_in_a_state_is_refused_and_the_known_ones_named(
    key: str,
) -> None:
    data = json.loads(json.dumps(state().to_json())) | {key: "flod"}
    with pytest.raises(LookupError, match=f"no {key} 'flod'; there are .*, "):
        ClusterState.from_json(data)


def test_a_membership_that_does_not_mention_a_node_has_it_in_service() -> None:
    grown, node = PLAN.with_node("c1")
    assert node in ALL_IN_SERVICE.serving_nodes(grown.find_chassis("c1"))


def test_a_membership_is_restored_as_it_was() -> None:
    failed = ALL_IN_SERVICE.with_chassis_failed("c1").with_node(
        "c2n1", NodeState.FAILED
    )
    restored = failed.with_chassis_restored("c1").with_node(
        "c2n1", NodeState.IN_SERVICE
    )
    assert restored == ALL_IN_SERVICE
    assert hash(restored) == hash(ALL_IN_SERVICE)
    assert Membership.from_json(failed.to_json()) == failed


def test_a_cut_off_chassis_and_a_reseeded_switch_are_kept_and_undone() -> None:
    changed = ALL_IN_SERVICE.with_chassis_cut_off("c1").with_reseeded("c2")
    assert Membership.from_json(json.loads(json.dumps(changed.to_json()))) == changed
    assert changed.with_chassis_connected("c1") == ALL_IN_SERVICE.with_reseeded("c2")
    assert changed != changed.with_reseeded("c2")
    assert hash(changed) == hash(Membership.from_json(changed.to_json()))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_chassis_that_is_cut_off_keeps_its_tables_and_the_fabric_forgets_it(
    policy: str,
) -> None:
    before = state(policy=policy)
    after = then(before, ALL_IN_SERVICE.with_chassis_cut_off("c2"))
    assert after.tables()["c1"] == before.tables()["c1"]
    assert after.tables()["c2"] == before.tables()["c2"]
    port = Output(PLAN.find_chassis("c2").fabric_port)
    assert any(port in entry.actions for entry in before.tables()["fabric"])
    assert not any(port in entry.actions for entry in after.tables()["fabric"])
    again = then(after, ALL_IN_SERVICE)
    assert again.tables()["c2"] == before.tables()["c2"]
