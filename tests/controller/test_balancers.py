"""Bucket tables: what every algorithm must do, and what each of them promises."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS, Balancer
from controller.balancers.rendezvous import BUCKETS

NAMES = [f"c{c}n{n}" for c in range(1, 5) for n in range(1, 9)]
member_lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=20, unique=True)
every_balancer = pytest.mark.parametrize("balancer", BALANCERS.values(), ids=BALANCERS)

MODULO, RENDEZVOUS = BALANCERS["modulo"], BALANCERS["rendezvous"]


def oracle(members: list[str]) -> list[str]:
    """Rendezvous hashing, written down again from its definition.

    >>> oracle(["c1n1", "c1n2"])[:6]
    ['c1n1', 'c1n1', 'c1n2', 'c1n2', 'c1n2', 'c1n2']
    """

    def weight(bucket: int, member: str) -> bytes:
        return blake2b(b"%d/%s" % (bucket, member.encode()), digest_size=8).digest()

    return [max(members, key=lambda m: weight(b, m)) for b in range(256)]


@every_balancer
@given(members=member_lists)
def test_every_bucket_has_a_member(balancer: Balancer, members: list[str]) -> None:
    table = balancer.table(members)
    assert table
    assert set(table) <= set(members)


@every_balancer
def test_no_members_have_no_buckets(balancer: Balancer) -> None:
    assert balancer.table([]) == ()


@every_balancer
@given(members=member_lists)
def test_the_same_members_have_the_same_table(
    balancer: Balancer, members: list[str]
) -> None:
    assert balancer.table(members) == balancer.table(list(members))


@given(members=member_lists)
def test_modulo_gives_bucket_i_to_member_i(members: list[str]) -> None:
    table = MODULO.table(members)
    assert [table[h % len(table)] for h in range(50)] == [
        members[h % len(members)] for h in range(50)
    ]


@settings(max_examples=50)
@given(members=member_lists)
def test_rendezvous_is_what_its_definition_says(members: list[str]) -> None:
    assert list(RENDEZVOUS.table(members)) == oracle(members)


def test_rendezvous_golden_vector() -> None:
    table = RENDEZVOUS.table(["c1n1", "c1n2", "c1n3"])
    assert len(table) == BUCKETS
    assert table[:8] == tuple(GOLDEN.split())


GOLDEN = "c1n1 c1n1 c1n2 c1n3 c1n2 c1n3 c1n3 c1n2"


@given(members=member_lists.filter(lambda m: len(m) > 1), data=st.data())
def test_rendezvous_moves_only_the_buckets_of_who_leaves(
    members: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(members))
    before = RENDEZVOUS.table(members)
    after = RENDEZVOUS.table([m for m in members if m != gone])
    for old, new in zip(before, after, strict=True):
        assert new == old or old == gone


@given(members=member_lists)
def test_rendezvous_does_not_care_for_the_order(members: list[str]) -> None:
    assert RENDEZVOUS.table(members) == RENDEZVOUS.table(members[::-1])


def test_rendezvous_shares_are_alike() -> None:
    shares = Counter(RENDEZVOUS.table(NAMES[:15])).values()
    assert len(shares) == 15
    assert max(shares) < 2 * BUCKETS / 15
