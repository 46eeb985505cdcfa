"""Earlier members of buckets, and what is kept of earlier arrangements."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.balancers import get_balancer
from topologies.domain.arrangement import Arrangement
from topologies.domain.buckets import BucketTable
from topologies.domain.history import KEPT_TABLES, by_bucket, needed, ranks, timeline
from topologies.domain.membership import Membership
from topologies.domain.plan import FABRIC, Plan

_MEMBERS = st.sampled_from("abc")


def table(members: str, basis: int = 1) -> BucketTable:
    return BucketTable(basis, tuple(members))


def test_each_bucket_has_its_own_earlier_members() -> None:
    tables = table("aa"), table("ba"), table("bc"), table("bd")
    found = by_bucket(tables, 4)
    assert [t.members for t in found] == [("a", "a"), ("b", "c"), ("b", "d")]


def test_a_table_of_another_shape_follows_as_it_is() -> None:
    tables = table("ab"), table("bb"), table("abc"), table("ab")
    assert by_bucket(tables, 4) == (table("ab"), table("bb"), table("abc"), table("ab"))
    reseeded = table("ab"), table("ab", basis=3)
    assert by_bucket(reseeded, 4) == reseeded


def test_no_more_than_are_asked_for() -> None:
    tables = table("a"), table("b"), table("c"), table("a"), table("b")
    assert [t.members[0] for t in by_bucket(tables, 2)] == ["a", "b", "c"]
    assert by_bucket(tables, 0) == (table("a"),)


def test_a_switch_without_members() -> None:
    assert by_bucket((table(""), table("ab")), 4) == (table(""), table("ab"))


@given(st.lists(st.text("abc", min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_last_members_of_every_bucket_are_found(rows: list[str]) -> None:
    distinct = [row for i, row in enumerate(rows) if i == 0 or row != rows[i - 1]]
    found = by_bucket(tuple(map(table, distinct)), 4)
    for bucket in range(3):
        history = [row[bucket] for row in distinct]
        changes = [m for i, m in enumerate(history) if i == 0 or m != history[i - 1]]
        assert {t.members[bucket] for t in found} == set(changes[:5]) | {
            t.members[bucket] for t in found[:1]
        }


PLAN = Plan.build(chassis=2, nodes=2, clients=1)
MODULO = get_balancer("modulo", {})


def reseeded(switch: str, times: int, before: Arrangement) -> list[Arrangement]:
    """Arrangements in which that switch has another basis each time, latest first."""
    found = [before]
    for _ in range(times):
        membership = found[0].membership.with_reseeded(switch)
        found.insert(0, Arrangement(PLAN, membership))
    return found


def test_a_timeline_has_the_last_tables_and_the_times_of_their_changes() -> None:
    first = Arrangement(PLAN, Membership.all_in_service(PLAN))
    then = reseeded("c1", 1, first)
    arrangements = (*reseeded("c2", 2, then[0]), *then[1:])
    ended = (7, 5, 2)
    found = {s: timeline(arrangements, ended, s, MODULO) for s in (FABRIC, "c1", "c2")}
    assert [dated.since for dated in found[FABRIC]] == [0]
    assert [dated.since for dated in found["c1"]] == [2, 0]
    assert [dated.since for dated in found["c2"]] == [7, 5, 0]


def test_a_timeline_has_no_more_tables_than_are_kept() -> None:
    many = reseeded("c1", 20, Arrangement(PLAN, Membership.all_in_service(PLAN)))
    found = timeline(many, ranks(20), "c1", MODULO)
    assert [d.since for d in found] == [*range(20, 20 - KEPT_TABLES, -1), 0]
    assert needed(many, MODULO) == tuple(range(KEPT_TABLES + 1))
