"""The figures of balance, against counting by hand and by brute force."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from controller.balancers import BALANCERS
from experiments.analysis.balance import (
    balance,
    chassis_loads,
    forecast_of,
    max_over_mean,
    moved_connections,
    moved_share,
    node_loads,
    node_shares,
    polarisation,
)
from experiments.prediction.predict import connections_of
from experiments.spec.run_spec import RunSpec
from topologies.domain.forecast import FABRIC_BASIS, Forecast

DRAIN = [{"kind": "drain-node", "target": "c1n2"}]
FIRST_CHASSIS_FAILS = [{"kind": "fail-chassis", "target": "c1"}]
RESEEDS = {
    target: [{"kind": "reseed", "target": target}] for target in ("fabric", "c1", "all")
}


def spec(balancer: str, **keys: object) -> RunSpec:
    return RunSpec.model_validate(
        {"balancer": balancer, "events": DRAIN, "workload": {"connections": 48}} | keys
    )


def forecasts(of: RunSpec) -> list[Forecast]:
    return [forecast_of(state) for state in of.states()]


def test_loads_are_the_numbers_of_connections_by_owner() -> None:
    of = spec("modulo")
    before, after = forecasts(of)
    connections = connections_of(of)
    assert node_loads(before, connections) == Counter(map(before.owner_of, connections))
    assert sum(chassis_loads(after, connections).values()) == 48
    assert "c1n2" not in node_loads(after, connections)


@pytest.mark.parametrize(
    ("loads", "figure"),
    [
        ({"a": 4, "b": 4}, 1.0),
        ({"a": 6, "b": 2}, 1.5),
        ({"a": 3, "b": 0, "c": 0}, 3.0),
        ({"a": 0}, None),
        ({}, None),
    ],
    ids=str,
)
def test_max_over_mean(loads: dict[str, int], figure: float | None) -> None:
    even = dict.fromkeys(loads, 1 / max(1, len(loads)))
    assert max_over_mean(loads, even) == figure


@pytest.mark.parametrize(
    "events", [DRAIN, FIRST_CHASSIS_FAILS], ids=["node", "chassis"]
)
@pytest.mark.parametrize("balancer", ["modulo", "rendezvous"])
def test_moved_share_is_that_of_all_pairs_of_hashes(
    balancer: str, events: list[dict[str, str]]
) -> None:
    old, new = forecasts(spec(balancer, events=events))
    period = 12 if balancer == "modulo" else 256  # of tables of 1, 2, 3 or 256 buckets

    def owner(of: Forecast, first: int, second: int) -> str:
        nodes = of.chassis[of.fabric[first % len(of.fabric)]]
        return nodes[second % len(nodes)]

    pairs = list(product(range(period), repeat=2))
    moved = sum(owner(old, *pair) != owner(new, *pair) for pair in pairs)
    assert float(moved_share(old, new)) == pytest.approx(moved / len(pairs))


@pytest.mark.parametrize("balancer", BALANCERS)
def test_many_connections_move_as_buckets_do(balancer: str) -> None:
    of = spec(balancer, workload={"connections": 6000})
    old, new = forecasts(of)
    share = moved_connections(old, new, connections_of(of)) / 6000
    assert share == pytest.approx(float(moved_share(old, new)), abs=0.03)


@pytest.mark.parametrize("balancer", BALANCERS)
def test_the_tiers_are_not_polarised_and_would_be_with_one_basis(balancer: str) -> None:
    """Of 3 chassis with 3 nodes: the same remainder, or bucket, would choose twice."""
    size = {"chassis": 3, "nodes": 3}
    of = spec(balancer, cluster=size, workload={"connections": 9000})
    before, connections = forecasts(of)[0], connections_of(of)
    chance = polarisation(before, connections)
    same = polarisation(before, connections, FABRIC_BASIS)
    assert chance is not None
    assert same is not None
    assert chance < 2 < 3 < same


@pytest.mark.parametrize(
    ("target", "share"), [("fabric", 1 / 2), ("c1", 1 / 3), ("all", 1 - 1 / 6)]
)
def test_a_reseed_moves_as_two_independent_hashes_differ(
    target: str, share: float
) -> None:
    """Two chassis of three nodes. A chassis' reseed moves two thirds of its own half."""
    of = spec("modulo", events=RESEEDS[target], workload={"connections": 6000})
    old, new = forecasts(of)
    assert float(moved_share(old, new)) == pytest.approx(share)
    moved = moved_connections(old, new, connections_of(of)) / 6000
    assert moved == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("target", RESEEDS)
def test_after_a_reseed_the_tiers_are_still_not_polarised(target: str) -> None:
    size = {"chassis": 3, "nodes": 3}
    more = {"cluster": size, "workload": {"connections": 9000}}
    of = spec("modulo", events=RESEEDS[target], **more)
    after, connections = forecasts(of)[-1], connections_of(of)
    chance = polarisation(after, connections)
    same = polarisation(after, connections, after.fabric_basis)
    assert chance is not None
    assert same is not None
    assert chance < 2 < 3 < same


def test_with_one_node_in_each_chassis_there_is_no_polarisation() -> None:
    of = spec("modulo", cluster={"nodes": 1}, events=[])
    assert polarisation(forecasts(of)[0], connections_of(of)) is None


@pytest.mark.parametrize("events", [[], DRAIN], ids=["no-event", "drain"])
def test_loads_are_compared_by_weight(events: list[dict[str, str]]) -> None:
    """Of 6,000 connections each node has what its weight says, within its buckets."""
    weights = {"c2": 6.0, "c1n1": 5.0}
    of = spec(
        "rendezvous",
        cluster={"weights": weights},
        workload={"connections": 6000},
        events=events,
    )
    where = forecasts(of)[-1]
    shares = node_shares(where)
    serving = 6.0 if events else 7.0
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["c1n1"] == pytest.approx(5 / (serving + 6))
    assert shares["c2n3"] == pytest.approx(2 / (serving + 6))
    loads = node_loads(where, connections_of(of))
    worst = max(loads[name] / (6000 * share) for name, share in shares.items())
    assert max_over_mean(loads, shares) == pytest.approx(worst)
    even = dict.fromkeys(loads, 1 / len(loads))
    unweighted = max_over_mean(loads, even)
    assert unweighted is not None
    assert worst < 1.4 < unweighted


@pytest.mark.parametrize("events", [[], DRAIN], ids=["no-event", "drain"])
def test_the_summary_has_every_figure(events: list[dict[str, str]]) -> None:
    of = spec("maglev", events=events)
    found = balance(of.states(), connections_of(of))
    assert found.keys() == {
        "fabric_max_over_mean",
        "node_max_over_mean",
        "changes",
        "polarisation",
    }
    assert len(found["changes"]) == len(events)
    assert found["node_max_over_mean"].keys() == {"before", "after"}
