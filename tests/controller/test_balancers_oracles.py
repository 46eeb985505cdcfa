"""Bucket tables against independent versions of the papers' methods and examples."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from hashlib import blake2b
from itertools import islice
from math import isqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS, anchor, maglev
from controller.balancers.anchor import AnchorHash
from controller.balancers.rendezvous import weighted_table
from topologies.domain.balancer import Departed
from topologies.domain.membership import Membership, NodeState

NAMES = [f"c1n{n}" for n in range(1, 21)]
pools = st.lists(st.sampled_from(NAMES), min_size=1, max_size=20, unique=True)


def digest(*key: object) -> int:
    """64 bits of BLAKE2b over the key's parts with slashes between."""
    text = "/".join(map(str, key)).encode()
    return int(blake2b(text, digest_size=8).hexdigest(), 16)


# -------------------------------------------------------------- hash-threshold


@given(members=pools)
def test_hash_threshold_is_a_search_for_the_region(members: list[str]) -> None:
    """RFC 2992: regions of equal size, and the key lies in one of them."""
    borders = [Fraction(256 * (i + 1), len(members)) for i in range(len(members))]
    for key, member in enumerate(BALANCERS["hash-threshold"].table(members)):
        assert member == next(
            m for m, border in zip(members, borders, strict=True) if key < border
        )


@pytest.mark.parametrize("count", [2, 3, 4, 7, 15])
def test_hash_threshold_moves_the_shares_of_rfc_2992(count: int) -> None:
    """Section 3's disruption for the loss of the k-th of n, up to rounded borders."""
    members, n = NAMES[:count], count
    before = BALANCERS["hash-threshold"].table(members)
    for k, gone in enumerate(members, 1):
        after = BALANCERS["hash-threshold"].table([m for m in members if m != gone])
        share = sum(x != y for x, y in zip(before, after, strict=True)) / 256
        published = (k * (k - 1) + (n - k) * (n - k + 1)) / (2 * n * (n - 1))
        assert abs(share - published) <= n / 256


@pytest.mark.parametrize("count", [4, 8, 16])
def test_hash_threshold_is_within_the_published_bounds(count: int) -> None:
    """RFC 2992: the loss of a region disrupts from a quarter to a half of the flows.

    By its formula a half for the first and the last of n, and 1/4 + 1/4(n-1) in the middle
    where n is even; up to one key, as these n divide the 256 of them, for each
    border of the n - 1 regions that are left.
    """
    members = NAMES[:count]
    before = BALANCERS["hash-threshold"].table(members)
    shares = []
    for gone in members:
        after = BALANCERS["hash-threshold"].table([m for m in members if m != gone])
        shares.append(sum(x != y for x, y in zip(before, after, strict=True)) / 256)
    rounded = (count - 1) / 256
    assert shares[0] == pytest.approx(1 / 2, abs=rounded)
    assert shares[-1] == pytest.approx(1 / 2, abs=rounded)
    assert min(shares) == pytest.approx(1 / 4 + 1 / (4 * (count - 1)), abs=rounded)
    assert shares.index(min(shares)) in (count // 2 - 1, count // 2)


# ------------------------------------------------------------------ rendezvous


@settings(max_examples=50)
@given(members=pools)
def test_rendezvous_matches_its_definition(members: list[str]) -> None:
    oracle = [max(members, key=lambda m: digest(b, m)) for b in range(256)]
    assert list(BALANCERS["rendezvous"].table(members)) == oracle


def test_rendezvous_golden_vector() -> None:
    table = BALANCERS["rendezvous"].table(["c1n1", "c1n2", "c1n3"])
    assert " ".join(table[:8]) == "c1n1 c1n1 c1n2 c1n3 c1n2 c1n3 c1n3 c1n2"


@settings(max_examples=50)
@given(members=pools, weight=st.floats(0.01, 100))
def test_equal_weights_are_the_same_as_none(members: list[str], weight: float) -> None:
    weighted = weighted_table(dict.fromkeys(members, weight))
    assert weighted == BALANCERS["rendezvous"].table(members)


weights = st.dictionaries(
    st.sampled_from(NAMES), st.floats(0.1, 10), min_size=2, max_size=10
)


@settings(max_examples=50)
@given(before=weights, data=st.data())
def test_a_changed_weight_moves_buckets_of_that_member_only(
    before: dict[str, float], data: st.DataObject
) -> None:
    who = data.draw(st.sampled_from(sorted(before)))
    more = before[who] * data.draw(st.floats(1.1, 20))
    after = weighted_table({**before, who: more})
    for old, new in zip(weighted_table(before), after, strict=True):
        assert new in (old, who)


def test_shares_follow_weights() -> None:
    """Over many pools, so that a share is within a few standard deviations, 0.6 %."""
    shares: Counter[str] = Counter()
    for pool in range(60):
        members = {f"{pool}a": 1.0, f"{pool}b": 2.0, f"{pool}c": 5.0}
        shares.update(name[-1] for name in weighted_table(members))
    total = shares.total()
    for name, weight in (("a", 1), ("b", 2), ("c", 5)):
        assert shares[name] / total == pytest.approx(weight / 8, abs=0.015)


def test_weight_0_gets_no_bucket() -> None:
    assert set(weighted_table({"c1": 0, "c2": 1})) == {"c2"}
    assert weighted_table({"c1": 0}) == weighted_table({}) == ()


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_an_invalid_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="c2: weight"):
        weighted_table({"c1": 1, "c2": weight})


# ---------------------------------------------------------------------- maglev

#: The example of section 3.4: (offset, skip) of B0, B1, B2 in a table of 7 entries.
PAPER = [(3, 4), (0, 2), (3, 1)]


@pytest.mark.parametrize(
    ("pair", "published"),
    [
        (PAPER[0], [3, 0, 4, 1, 5, 2, 6]),
        (PAPER[1], [0, 2, 4, 6, 1, 3, 5]),
        (PAPER[2], [3, 4, 5, 6, 0, 1, 2]),
    ],
    ids=["B0", "B1", "B2"],
)
def test_maglev_permutations_of_the_paper(
    pair: tuple[int, int], published: list[int]
) -> None:
    assert list(maglev.permutation(*pair, 7)) == published


def test_maglev_table_of_the_paper() -> None:
    """The lookup table before and after the removal of B1 (NSDI 2016, section 3.4)."""
    before = maglev.populate([maglev.permutation(*pair, 7) for pair in PAPER], 7)
    assert " ".join(f"B{i}" for i in before) == "B1 B0 B1 B0 B2 B2 B0"
    left = [maglev.permutation(*PAPER[i], 7) for i in (0, 2)]
    after = [("B0", "B2")[i] for i in maglev.populate(left, 7)]
    assert " ".join(after) == "B0 B0 B0 B0 B2 B2 B2"


def pseudocode(members: list[str], size: int) -> list[str]:
    """The paper's pseudocode 1, line by line, with arrays."""
    permutation = []
    for name in members:
        offset = digest("maglev offset", name) % size
        skip = digest("maglev skip", name) % (size - 1) + 1
        permutation.append([(offset + j * skip) % size for j in range(size)])
    following, entry, n = [0] * len(members), [-1] * size, 0
    while True:
        for i in range(len(members)):
            c = permutation[i][following[i]]
            while entry[c] >= 0:
                following[i] += 1
                c = permutation[i][following[i]]
            entry[c] = i
            following[i] += 1
            n += 1
            if n == size:
                return [members[i] for i in entry]


@settings(max_examples=30)
@given(members=pools)
def test_maglev_is_the_papers_pseudocode(members: list[str]) -> None:
    assert list(BALANCERS["maglev"].table(members)) == pseudocode(members, 1021)


@given(members=pools)
def test_maglev_shares_differ_by_one_bucket_at_most(members: list[str]) -> None:
    shares = Counter(BALANCERS["maglev"].table(members))
    assert max(shares.values()) - min(shares.values()) <= 1


def test_maglevs_size_is_prime() -> None:
    size = maglev.BUCKETS
    assert all(size % divisor for divisor in range(2, isqrt(size) + 1))


@settings(max_examples=30)
@given(members=pools, weight=st.floats(0.01, 100))
def test_maglev_with_equal_weights_is_maglev(members: list[str], weight: float) -> None:
    weighted = maglev.weighted_table(dict.fromkeys(members, weight))
    assert weighted == BALANCERS["maglev"].table(members)


@settings(max_examples=50)
@given(weights=weights)
def test_maglev_shares_follow_weights_within_a_bucket_for_each_member(
    weights: dict[str, float],
) -> None:
    """Webster's method stays within one seat of the quota for two parties; for more it
    may not, but a member is never further ahead than the others' half seats."""
    shares = Counter(maglev.weighted_table(weights))
    whole = sum(weights.values())
    for member, weight in weights.items():
        exact = 1021 * weight / whole
        slack = 0.5 + weight / whole * len(weights) / 2
        assert abs(shares[member] - exact) <= slack


@settings(max_examples=50)
@given(weights=weights)
def test_maglev_turns_are_websters_seats(weights: dict[str, float]) -> None:
    """An oracle: each seat goes to the party with the most votes for 2 seats + 1."""
    shares = list(weights.values())
    seats = [0] * len(shares)
    for whose in islice(maglev.turns(shares), 200):
        claims = [vote / (2 * had + 1) for vote, had in zip(shares, seats, strict=True)]
        assert claims[whose] == pytest.approx(max(claims))
        seats[whose] += 1


def test_a_loss_from_weighted_maglev_moves_little_else() -> None:
    """Weights of Cilium's test: under 1 % of the table beside the lost member's buckets."""
    shares = {"a": 2.0, "b": 13.0, "c": 111.0, "d": 10.0}
    before = maglev.weighted_table(shares)
    after = maglev.weighted_table({n: w for n, w in shares.items() if n != "a"})
    others = sum(o != n and o != "a" for o, n in zip(before, after, strict=True))
    assert others / len(before) < 0.01


def test_maglev_weight_0_gets_no_bucket() -> None:
    assert set(maglev.weighted_table({"c1": 0, "c2": 1})) == {"c2"}
    assert maglev.weighted_table({"c1": 0}) == maglev.weighted_table({}) == ()
    with pytest.raises(ValueError, match="c2: weight"):
        maglev.weighted_table({"c1": 1, "c2": -1})


# ---------------------------------------------------------------------- anchor


class Places:
    """AnchorHash by its definition: a removed place keeps the list of those that were
    left then, and a key that comes to it is hashed over that list (algorithm 1)."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.taken = list(range(capacity))
        self.lists: dict[int, list[int]] = {}

    def leave(self, place: int) -> None:
        last = self.taken.pop()
        if last != place:
            self.taken[self.taken.index(place)] = last
        self.lists[place] = list(self.taken)

    def place_of(self, key: int) -> int:
        place = digest("anchor", key) % self.capacity
        while place in self.lists:
            left = self.lists[place]
            place = left[digest("anchor", key, place) % len(left)]
        return place


@settings(max_examples=50)
@given(order=st.permutations(range(20)), leaving=st.integers(0, 19))
def test_anchor_is_a_hash_over_the_list_that_each_place_left(
    order: list[int], leaving: int
) -> None:
    places, compact = Places(20), AnchorHash(20, 20)
    for place in order[:leaving]:
        places.leave(place)
        compact.leave(place)
    for key in range(100):
        assert compact.place_of(key) == places.place_of(key)


@settings(max_examples=50)
@given(data=st.data())
def test_anchor_joins_undo_leaves(data: st.DataObject) -> None:
    """And what was empty from the start is taken in the order of the places."""
    anchor_hash = AnchorHash(12, 7)
    first = [anchor_hash.place_of(key) for key in range(60)]
    gone = []
    for _ in range(data.draw(st.integers(0, 6))):
        taken = [p for p in range(12) if not anchor_hash.size_at[p]]
        gone.append(data.draw(st.sampled_from(taken)))
        anchor_hash.leave(gone[-1])
    assert [anchor_hash.join() for _ in gone] == gone[::-1]
    assert [anchor_hash.place_of(key) for key in range(60)] == first
    assert [anchor_hash.join() for _ in range(5)] == [7, 8, 9, 10, 11]
    assert [anchor_hash.place_of(key) for key in range(60)] == [
        digest("anchor", key) % 12 for key in range(60)
    ]


def test_anchor_refuses_an_empty_place_and_the_last_one() -> None:
    anchor_hash = AnchorHash(4, 1)
    for place in (0, 2):
        with pytest.raises(ValueError, match=f"place {place}"):
            anchor_hash.leave(place)


@settings(max_examples=50)
@given(data=st.data())
def test_anchor_moves_nothing_else_in_any_history(data: st.DataObject) -> None:
    """Nodes leave and come back in any order, and new ones come, also meanwhile."""
    inside, number = NAMES[:4], 4
    now = Membership(dict.fromkeys(inside, NodeState.IN_SERVICE))
    before = anchor.table(inside, 256, now.departed("c1"))
    for _ in range(12):
        away = [name for name, state in now.nodes.items() if name not in inside]
        new = [NAMES[number]] if number < len(NAMES) else []
        who = data.draw(st.sampled_from([*inside, *away, *new]))
        if who in inside and len(inside) == 1:
            continue
        state = NodeState.DRAINED if who in inside else NodeState.IN_SERVICE
        number += who in new
        now = now.with_node(who, state)
        inside = [n for n, s in now.nodes.items() if s is NodeState.IN_SERVICE]
        after = anchor.table(inside, 256, now.departed("c1"))
        assert all(o == n or who in (o, n) for o, n in zip(before, after, strict=True))
        before = after


def test_anchor_spreads_what_a_member_leaves_over_all_others() -> None:
    """Each of 14 gets its share, a 14th of 68 buckets, give or take four deviations."""
    before = Counter(anchor.table(NAMES[:15]))
    for gone in NAMES[:15]:
        rest = [name for name in NAMES[:15] if name != gone]
        after = Counter(anchor.table(rest, departed=Departed((gone,))))
        more = before[gone] / 14
        assert all(abs(after[m] - before[m] - more) <= 4 * more**0.5 for m in rest)


# ------------------------------------------------------------------------ ring


@settings(max_examples=20)
@given(members=pools)
def test_ring_is_a_walk_to_the_next_point(members: list[str]) -> None:
    """No sorting, no search: of all points, the nearest one clockwise."""
    points = {digest(m, r): m for m in members for r in range(160)}
    table = BALANCERS["ring"].table(members)
    for bucket, member in list(enumerate(table))[::20]:
        place = bucket << 54
        nearest = min(points, key=lambda point: (point - place) % 2**64)
        assert member == points[nearest]
