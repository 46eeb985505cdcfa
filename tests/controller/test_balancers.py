"""Bucket tables: properties of every algorithm, and of each one."""

from __future__ import annotations

from collections import Counter
from math import lcm

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS, Balancer, SizeError, get_balancer
from topologies.domain.balancer import Departed
from topologies.domain.plan import MAX_CHASSIS, MAX_NODES

#: Members of one tier with the plan's names; more than a test uses.
NAMES = [f"c1n{n}" for n in range(1, 33)]
#: Members of several chassis: not possible in a plan, but a valid table.
MIXED = [f"c{c}n{n}" for c in range(1, 5) for n in range(1, 9)]
pools = st.lists(st.sampled_from(NAMES), min_size=1, max_size=20, unique=True)
any_names = st.one_of(
    pools,
    st.lists(st.sampled_from(MIXED), min_size=1, max_size=20, unique=True),
    st.lists(st.text(max_size=8), min_size=1, max_size=12, unique=True),
)
every_balancer = pytest.mark.parametrize("balancer", BALANCERS.values(), ids=BALANCERS)
#: Balancers that never move a bucket between two members that stay.
MINIMAL = ("rendezvous", "ring", "resilient")
#: Maximum of largest share / mean share, for 2 to 20 members.
MOST_UNEVEN = {
    "modulo": 1.0,
    "hash-threshold": 1.1,
    "rendezvous": 1.4,
    "maglev": 1.02,
    "ring": 1.4,
    "resilient": 1.1,
    "anchor": 1.4,
}
#: Of what holds for each table by itself, whatever its members.
few = settings(max_examples=30)
SIZED = {name: each for name, each in BALANCERS.items() if each.sizes}
#: A prime one, so that every balancer can have it.
SIZE = 2039


def moved(before: tuple[str, ...], after: tuple[str, ...]) -> float:
    """Share of all hashes whose member changes."""
    period = lcm(len(before), len(after))
    return (
        sum(before[h % len(before)] != after[h % len(after)] for h in range(period))
        / period
    )


def unevenness(table: tuple[str, ...]) -> float:
    """The largest number of buckets of a member / the mean."""
    shares = Counter(table).values()
    return max(shares) * len(shares) / len(table)


@every_balancer
@few
@given(members=any_names)
def test_every_bucket_has_a_member(balancer: Balancer, members: list[str]) -> None:
    table = balancer.table(members)
    assert table
    assert set(table) <= set(members)


@every_balancer
def test_no_members_have_no_buckets(balancer: Balancer) -> None:
    assert balancer.table([]) == ()


@every_balancer
def test_one_member_has_every_bucket(balancer: Balancer) -> None:
    assert set(balancer.table(["c1n7"])) == {"c1n7"}


@every_balancer
@few
@given(members=pools)
def test_the_same_members_have_the_same_table(
    balancer: Balancer, members: list[str]
) -> None:
    assert balancer.table(members) == balancer.table(list(members))


@every_balancer
@pytest.mark.parametrize("count", [2, 3, 5, 8, 10, 15, 20])
def test_members_have_similar_shares(balancer: Balancer, count: int) -> None:
    table = balancer.table(NAMES[:count])
    assert set(table) == set(NAMES[:count])
    assert unevenness(table) <= MOST_UNEVEN[balancer.name]


@every_balancer
@pytest.mark.parametrize("most", [MAX_NODES, MAX_CHASSIS])
def test_the_largest_pool_has_a_table(balancer: Balancer, most: int) -> None:
    members = [f"c{number}" for number in range(1, most + 1)]
    table = balancer.table(members)
    assert len(table) <= 1 << 16, "the switches have 16 bits for a bucket's number"
    assert len(set(table)) > most / 2


@pytest.mark.parametrize("name", [name for name in BALANCERS if name != "modulo"])
@few
@given(one=pools, other=pools)
def test_the_number_of_buckets_is_fixed(
    name: str, one: list[str], other: list[str]
) -> None:
    table = BALANCERS[name].table
    assert len(table(one)) == len(table(other))


@pytest.mark.parametrize("name", MINIMAL)
@given(members=any_names.filter(lambda m: len(m) > 1), data=st.data())
def test_only_the_buckets_of_a_leaving_member_move(
    name: str, members: list[str], data: st.DataObject
) -> None:
    """And in reverse: only a joining member takes buckets."""
    gone = data.draw(st.sampled_from(members))
    before = BALANCERS[name].table(members)
    after = BALANCERS[name].table([m for m in members if m != gone])
    for old, new in zip(before, after, strict=True):
        assert new == old or old == gone


@pytest.mark.parametrize("name", MINIMAL)
@given(members=pools, data=st.data())
def test_the_order_of_members_does_not_matter(
    name: str, members: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(members))
    assert BALANCERS[name].table(members) == BALANCERS[name].table(shuffled)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("modulo", 14 / 15, 14 / 15),
        ("hash-threshold", 1 / 4, 0.51),
        ("rendezvous", 1 / 30, 2 / 15),
        ("maglev", 1 / 15, 1.6 / 15),
        ("ring", 1 / 30, 2 / 15),
        ("resilient", 1 / 16, 1 / 14),
    ],
)
def test_what_the_loss_of_one_of_15_moves(name: str, least: float, most: float) -> None:
    before = BALANCERS[name].table(NAMES[:15])
    for gone in NAMES[:15]:
        after = BALANCERS[name].table([m for m in NAMES[:15] if m != gone])
        assert least <= moved(before, after) <= most, gone


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("count", [1, 3, 15])
def test_tables_have_the_chosen_size_and_every_member_its_share(
    name: str, count: int
) -> None:
    balancer = get_balancer(name, {}, SIZE)
    table = balancer.node_table(NAMES[:count])
    assert len(table) == SIZE
    assert set(table) == set(NAMES[:count])
    assert unevenness(table) <= MOST_UNEVEN[name]


@pytest.mark.parametrize("name", SIZED)
def test_the_default_size_is_the_one_without_a_choice(name: str) -> None:
    sizes = BALANCERS[name].sizes
    assert sizes is not None
    chosen = get_balancer(name, {}, sizes.default)
    assert chosen.node_table(NAMES[:7]) == BALANCERS[name].table(NAMES[:7])


@pytest.mark.parametrize("name", [n for n in SIZED if BALANCERS[n].consistent])
@given(members=pools.filter(lambda m: len(m) > 1), data=st.data())
def test_at_any_size_a_consistent_balancer_moves_the_minimum(
    name: str, members: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(members))
    balancer = get_balancer(name, {}, 997)
    before = balancer.node_table(members)
    rest = [member for member in members if member != gone]
    after = balancer.node_table(rest, Departed((gone,)))
    for old, new in zip(before, after, strict=True):
        assert new == old or old == gone


@pytest.mark.parametrize(
    ("name", "buckets", "reason"),
    [
        ("modulo", 512, "takes no number of buckets; .* maglev"),
        ("maglev", 1024, "must be prime, e.g. 1021 or 1031"),
        ("maglev", 65536, "must be prime, e.g. 65521"),
        ("maglev", 65537, "251 to 65536"),
        ("ring", 65537, "256 to 65536"),
        ("anchor", 255, "256 to 65536"),
        ("rendezvous", -1, "256 to 65536"),
    ],
)
def test_an_impossible_size_is_refused(name: str, buckets: int, reason: str) -> None:
    with pytest.raises(SizeError, match=reason):
        get_balancer(name, {}, buckets)


@given(members=pools)
def test_modulo_gives_bucket_i_to_member_i(members: list[str]) -> None:
    table = BALANCERS["modulo"].table(members)
    assert [table[h % len(table)] for h in range(50)] == [
        members[h % len(members)] for h in range(50)
    ]


def history(data: st.DataObject, steps: int) -> list[list[str]]:
    """Pools after each event: one member is lost, returns or joins."""
    pools, everyone = [NAMES[:4]], 4
    for _ in range(steps):
        inside = pools[-1]
        absent = [m for m in NAMES[:everyone] if m not in inside]
        change = data.draw(st.sampled_from([*inside, *absent, "join"]))
        if change == "join":
            everyone += 1
            pools.append([*inside, NAMES[everyone - 1]])
        elif change in absent:
            pools.append(sorted([*inside, change], key=NAMES.index))
        elif len(inside) > 1:
            pools.append([m for m in inside if m != change])
    return pools


@settings(max_examples=60)
@given(data=st.data())
def test_resilient_moves_nothing_else_in_any_history(data: st.DataObject) -> None:
    past = history(data, 12)
    tables = [BALANCERS["resilient"].table(pool) for pool in past]
    for (pool, table), (next_pool, next_table) in zip(
        zip(past, tables, strict=True),
        zip(past[1:], tables[1:], strict=True),
        strict=False,
    ):
        gone, new = set(pool) - set(next_pool), set(next_pool) - set(pool)
        for old, now in zip(table, next_table, strict=True):
            assert old == now or old in gone or now in new


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 15, 31, 100, 250])
def test_resilient_shares_differ_by_one_bucket_at_most(count: int) -> None:
    table = BALANCERS["resilient"].table([f"c1n{n}" for n in range(1, count + 1)])
    shares = Counter(table)
    assert len(shares) == count
    assert max(shares.values()) - min(shares.values()) <= 1


@pytest.mark.parametrize("count", [3, 5, 10, 15])
def test_resilient_spreads_a_lost_share_over_all(count: int) -> None:
    members = NAMES[:count]
    before = Counter(BALANCERS["resilient"].table(members))
    for gone in members:
        after = Counter(BALANCERS["resilient"].table([m for m in members if m != gone]))
        most = before[gone] / (count - 1) + 2
        assert all(after[m] - before[m] <= most for m in after), gone


def test_resilient_golden_vector() -> None:
    """A changed table would move the connections in every published figure."""
    table = BALANCERS["resilient"].table(["c1n1", "c1n2", "c1n3"])
    assert " ".join(table[:12]) == (
        "c1n3 c1n3 c1n2 c1n1 c1n3 c1n1 c1n2 c1n3 c1n2 c1n1 c1n3 c1n1"
    )
