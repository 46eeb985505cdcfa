"""Weights of nodes and chassis: their effect at both tiers, without a switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.balancers import BALANCERS, WeightError, get_balancer
from controller.pipeline.cluster_state import ClusterState
from tests.controller.clusters import ALL_IN_SERVICE, PLAN, state
from topologies.domain.forecast import Forecast, forecast
from topologies.domain.hash64 import hash64
from topologies.domain.membership import NodeState
from topologies.domain.plan import FABRIC

WEIGHTED = [name for name, each in BALANCERS.items() if each.weighted]
DRAINED = ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED)
names = st.sampled_from(["c1", "c2", "c1n1", "c1n2", "c1n3", "c2n1", "c2n2", "c2n3"])
weights_given = st.dictionaries(names, st.floats(0.1, 10), min_size=1)


def tables(weights: Mapping[str, float], drained: bool = False) -> Forecast:
    membership = DRAINED if drained else ALL_IN_SERVICE
    return forecast(PLAN, membership, get_balancer("rendezvous", weights))


@given(weights=weights_given)
def test_rendezvous_gives_a_bucket_to_the_first_arrival(
    weights: dict[str, float],
) -> None:
    """An independent oracle: Schindelhauer and Schomaker's method, bucket by bucket.

    A member's score is ``-ln(u) / w``, with ``u`` uniform in (0, 1), drawn from its
    name and the bucket; the least wins ("Weighted distributed hash tables", SPAA 2005).
    """
    found = tables(weights)
    for chassis, table in found.chassis.items():
        nodes = [f"{chassis}n{n}" for n in (1, 2, 3)]
        for bucket, member in enumerate(table):
            scores = {
                node: -log((hash64(bucket, node) + 0.5) / 2**64) / weights.get(node, 1)
                for node in nodes
            }
            assert scores[member] == min(scores.values())


@given(weights=weights_given, drained=st.booleans())
def test_a_chassis_counts_as_its_serving_nodes_unless_it_has_a_weight(
    weights: dict[str, float], drained: bool
) -> None:
    found = tables(weights, drained)
    for chassis, count in found.balancer.chassis_weights(found.members).items():
        serving = [n for n in (1, 2, 3) if not drained or f"{chassis}n{n}" != "c1n2"]
        total = sum(weights.get(f"{chassis}n{n}", 1.0) for n in serving)
        assert count == pytest.approx(weights.get(chassis, total))


def test_without_weights_every_member_of_a_tier_has_the_same_weight() -> None:
    plain = BALANCERS["rendezvous"]
    found = tables({}, drained=True)
    assert found.fabric == plain.table(["c1", "c2"])
    assert found.chassis["c1"] == plain.table(["c1n1", "c1n3"])


def test_a_drain_moves_only_towards_the_other_chassis() -> None:
    """The weight of c1 is less: some of its buckets go to c2, and none the other way."""
    pairs = list(
        zip(tables({"c2n1": 2}).fabric, tables({"c2n1": 2}, True).fabric, strict=True)
    )
    assert ("c1", "c2") in pairs
    assert ("c2", "c1") not in pairs


def test_a_chassis_with_its_own_weight_keeps_its_share() -> None:
    pinned = {"c1": 1, "c2": 1, "c1n2": 0.5}
    assert tables(pinned).fabric == tables(pinned, drained=True).fabric


@pytest.mark.parametrize("name", WEIGHTED)
def test_shares_of_buckets_follow_weights(name: str) -> None:
    """5 to 1 in 256 buckets: 213 of them, give or take 6 for one standard deviation."""
    balancer = get_balancer(name, {"c2": 5, "c1": 1})
    table = balancer.chassis_table({"c1": ["c1n1"], "c2": ["c2n1"]})
    assert Counter(table)["c2"] / len(table) == pytest.approx(5 / 6, abs=0.07)


@pytest.mark.parametrize("name", [name for name in BALANCERS if name not in WEIGHTED])
def test_balancers_without_weights_name_those_with_weights(name: str) -> None:
    with pytest.raises(WeightError, match=f"{name!r} takes no weights; .*rendezvous"):
        get_balancer(name, {"c1": 2})
    assert get_balancer(name, {}) is not None


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_a_weight_is_above_0(wrong: float) -> None:
    with pytest.raises(WeightError, match="c1: a weight is above 0"):
        get_balancer("rendezvous", {"c1": wrong})


def test_the_order_of_weights_does_not_matter() -> None:
    one = get_balancer("rendezvous", {"c1": 2, "c2n1": 3.0})
    other = get_balancer("rendezvous", {"c2n1": 3, "c1": 2.0})
    assert one == other
    assert hash(one) == hash(other)


def test_the_controllers_state_file_holds_the_weights() -> None:
    weighted = state(balancer="rendezvous", weights={"c1": 2.0, "c2n3": 0.25})
    read = ClusterState.from_json(weighted.to_json())
    assert read == weighted
    assert read.tables() == weighted.tables()
    assert read.tables()[FABRIC] != state(balancer="rendezvous").tables()[FABRIC]


def test_a_state_file_without_weights_can_be_read() -> None:
    data = state(balancer="rendezvous").to_json()
    del data["weights"]
    assert ClusterState.from_json(data) == state(balancer="rendezvous")


def test_the_controllers_state_file_holds_the_size_of_the_tables() -> None:
    sized = state(balancer="maglev", buckets=509)
    read = ClusterState.from_json(sized.to_json())
    assert read == sized
    assert len(read.balancer.node_table(["c1n1"])) == 509
    older = {key: value for key, value in sized.to_json().items() if key != "buckets"}
    assert ClusterState.from_json(older) == state(balancer="maglev")
