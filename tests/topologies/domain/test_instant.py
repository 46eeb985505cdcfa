"""Events of one instant: one change, with the machines' losses last."""

from __future__ import annotations

from typing import Any
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.prediction.predict import predict
from experiments.spec.run_spec import RunSpec
from tests.topologies.domain.test_events import fresh
from topologies.domain.events import EVENTS, EventError, MachineActions
from topologies.domain.events.instant import machine_order, resolve_events

DRAIN = {"kind": "drain-node", "target": "c1n2"}
FAIL = {"kind": "fail-node", "target": "c2n3"}


def spec(*events: dict[str, Any]) -> RunSpec:
    return RunSpec.model_validate({"events": events})


def at_once(*words: str) -> list[str]:
    """The actions on machines of those events, in order."""
    pairs = [word.split() for word in words]
    found = resolve_events(fresh(), [(EVENTS[kind], target) for kind, target in pairs])
    machines = create_autospec(MachineActions, instance=True)
    for one in machine_order(found):
        one.apply_to_machines(machines)
    return [name for name, _, _ in machines.method_calls]


def test_starts_come_before_losses() -> None:
    assert at_once(
        "fail-chassis c2", "fail-node c1n1", "drain-node c1n2", "add-chassis c3"
    ) == ["build_chassis", "power_off_chassis", "power_off_node"]


def test_two_nodes_added_at_once_are_two_nodes() -> None:
    found = resolve_events(fresh(), [(EVENTS["add-node"], "c2")] * 2)
    machines = create_autospec(MachineActions, instance=True)
    for one in found:
        one.apply_to_machines(machines)
    built = [call.args[1].name for call in machines.build_node.call_args_list]
    assert built == ["c2n4", "c2n5"]


def test_a_node_that_fails_with_its_chassis_is_powered_off_once() -> None:
    found = resolve_events(
        fresh(), [(EVENTS["fail-node"], "c2n1"), (EVENTS["fail-chassis"], "c2")]
    )
    machines = create_autospec(MachineActions, instance=True)
    for one in machine_order(found):
        one.apply_to_machines(machines)
    (_, nodes), _ = machines.power_off_chassis.call_args
    assert [node.name for node in nodes] == ["c2n2", "c2n3"]


def test_a_contradiction_is_refused() -> None:
    pairs = [(EVENTS["fail-node"], "c1n1"), (EVENTS["restore-node"], "c1n1")]
    with pytest.raises(EventError, match="already has a fail-node at this instant"):
        resolve_events(fresh(), pairs)


def test_a_spec_names_the_event_that_is_impossible_at_its_instant() -> None:
    last = {"kind": "drain-node", "target": "c2n3"}
    with pytest.raises(
        ValidationError, match=r"events\.2: drain-node: c2n3: already has a"
    ):
        spec(DRAIN, FAIL, last)


def test_events_of_one_time_are_one_step_of_the_prediction() -> None:
    apart = predict(spec(DRAIN, {**FAIL, "at": 1.0}))
    together = predict(spec(DRAIN, FAIL))
    assert len(apart.states) == 3
    assert len(together.states) == 2
    assert together.owners == [apart.owners[0], apart.owners[2]]
    assert len(together.states[-1].history) == 1
    prediction = together.to_json()
    assert [event["moved"] for event in prediction["events"]] == [together.moved(0)] * 2
    assert len(prediction["balance"]["changes"]) == 1
    assert {len(row["owners"]) for row in prediction["connections"]} == {2}


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=4).map(sorted))
def test_instants_keep_every_event_and_its_order(times: list[float]) -> None:
    of = spec(*({"kind": "reseed", "target": "all", "at": at} for at in times))
    assert [event.at for instant in of.instants() for event in instant] == times
    assert len(of.instants()) == len(set(times)) == len(of.states()) - 1
