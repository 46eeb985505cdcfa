"""Who has left, in which order, and who has whose place: the membership remembers it."""

from __future__ import annotations

import json

from topologies.domain.balancer import NOBODY, Departed
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FABRIC, Plan

PLAN = Plan.build(chassis=3, nodes=4, clients=1)
ALL = Membership.all_in_service(PLAN)


def drained(*names: str, of: Membership = ALL) -> Membership:
    for name in names:
        of = of.with_node(name, NodeState.DRAINED)
    return of


def restored(*names: str, of: Membership) -> Membership:
    for name in names:
        of = of.with_node(name, NodeState.IN_SERVICE)
    return of


def test_each_switch_has_its_own_order() -> None:
    now = drained("c1n2", "c2n1", "c1n1").with_chassis_failed("c3")
    assert now.departed("c1") == Departed(("c1n2", "c1n1"))
    assert now.departed("c2") == Departed(("c2n1",))
    assert now.departed(FABRIC) == Departed(("c3",))
    assert ALL.departed("c1") == NOBODY


def test_a_chassis_switch_depends_on_its_own_order_only() -> None:
    one = drained("c1n2", "c2n1")
    other = drained("c1n2", "c2n3", "c2n1")
    chassis = PLAN.chassis[0]
    assert one.of_chassis(chassis) == other.of_chassis(chassis)
    assert drained("c1n1", "c1n2").of_chassis(chassis) != (
        drained("c1n2", "c1n1").of_chassis(chassis)
    )


def test_who_returns_in_the_opposite_order_has_its_own_place() -> None:
    assert restored("c1n1", "c1n2", of=drained("c1n2", "c1n1")) == ALL


def test_who_returns_first_takes_the_place_that_was_left_last() -> None:
    now = restored("c1n2", of=drained("c1n2", "c1n1"))
    assert now.departed("c1") == Departed(
        ("c1n1",), (("c1n1", "c1n2"), ("c1n2", "c1n1"))
    )
    # Both are back, with each other's place.
    assert restored("c1n1", of=now).departed("c1").left == ()


def test_a_new_node_takes_the_place_of_one_that_is_away() -> None:
    now = restored("c1n5", of=drained("c1n2"))
    assert now.departed("c1") == Departed(
        ("c1n2",), (("c1n2", "c1n5"), ("c1n5", "c1n2"))
    )


def test_a_failed_node_that_was_drained_has_left_once() -> None:
    now = drained("c1n2").with_node("c1n2", NodeState.FAILED)
    assert now.departed("c1") == Departed(("c1n2",))


def test_a_chassis_that_failed_and_is_cut_off_returns_when_it_is_both_no_more() -> None:
    now = ALL.with_chassis_cut_off("c1").with_chassis_failed("c1")
    assert now.departed(FABRIC) == Departed(("c1",))
    assert now.with_chassis_restored("c1").departed(FABRIC) == Departed(("c1",))
    both = now.with_chassis_restored("c1").with_chassis_connected("c1")
    assert both == ALL
    assert now.with_chassis_connected("c1").with_chassis_restored("c1") == ALL


def test_what_is_in_service_does_not_join_again() -> None:
    now = drained("c1n2")
    assert restored("c1n1", of=now) == now


def test_json_holds_the_order() -> None:
    now = restored("c1n2", of=drained("c1n2", "c1n1", "c1n4"))
    read = Membership.from_json(json.loads(json.dumps(now.to_json())))
    assert read == now
    assert hash(read) == hash(now)
    assert "left" not in ALL.to_json()
