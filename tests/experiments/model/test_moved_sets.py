"""The model moves the connections that are predicted: each scenario, policy and instant."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from controller.policies import POLICIES
from experiments.model.engine import moved_of
from experiments.model.model_spec import ModelSpec
from experiments.model.routes import Routes
from experiments.model.tuple_hash import Hashes
from experiments.prediction.predict import predict
from experiments.spec.spec_file import find_spec, load_spec, scenario_names
from experiments.sweep.suite_file import SUITES

#: With the balancers between which scenarios choose, and one that is ordered.
BALANCERS = ["as shipped", "anchor"]


@pytest.mark.parametrize("balancer", BALANCERS)
@pytest.mark.parametrize("name", scenario_names())
def test_the_same_connections_move_as_predicted(name: str, balancer: str) -> None:
    """Every connection's node in every state; and who moves first when, by policy."""
    other = () if balancer == BALANCERS[0] else (f"balancer={balancer}",)
    spec = load_spec(find_spec(name), other)
    model = ModelSpec.model_validate(spec.model_dump())
    predicted = predict(spec)
    changes, population = model.changes(), model.population()
    routes, flows = Routes(changes), population.batch(0)
    hashes = Hashes(population.addresses, flows.clients, flows.ports)
    nodes = np.array(routes.nodes)
    for era, owners in enumerate(predicted.owners):
        way = routes.way(hashes, None, np.full(len(flows), era))
        assert nodes[way.node].tolist() == list(owners)
    first = [
        next((era for era, o in enumerate(owners) if o != owners[0]), None)
        for owners in zip(*predicted.owners, strict=True)
    ]
    # Those that a client keeps only for a time may be closed by then.
    ends = np.minimum(flows.death, model.horizon_s)
    expected = {
        place: era
        for place, era in enumerate(first)
        if era is not None and routes.times[era - 1] < ends[place]
    }
    for policy in POLICIES:
        one = model.model_copy(update={"policy": policy})
        _, _, moved = moved_of(one.computation(changes, population), routes, flows)
        found = dict(zip(moved.index.tolist(), moved.era.tolist(), strict=True))
        assert found == expected, policy


def test_the_suite_has_every_scenario_and_policy() -> None:
    """A new one is held against measurement, too. Links move no connection, and a scenario
    that shapes them is refused where the kernel cannot: such a suite would run nowhere else.
    """
    factors = yaml.safe_load((SUITES / "model.yaml").read_text())["factors"]
    assert factors["policy"] == list(POLICIES)
    assert factors["scenario"] == [n for n in scenario_names() if not _shapes_links(n)]


def _shapes_links(name: str) -> bool:
    return any(one.kind == "link" for one in load_spec(find_spec(name)).events)
