"""What follows from a suite: its runs, their seeds and order, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from experiments.spec.spec_file import SpecError
from experiments.sweep.suite import PlannedRun, derived_seed
from experiments.sweep.suite_file import (
    expand,
    find_suite,
    is_suite,
    load_suite,
    suite_names,
)


def runs_of(folder: Path, text: str) -> list[PlannedRun]:
    path = folder / "mine.yaml"
    path.write_text(text)
    return expand(load_suite(path), path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as refused:
        runs_of(folder, text)
    return str(refused.value)


TWO_BY_TWO = """
seed: 5
repetitions: 2
factors:
  policy: [drop, flood]
  scenario: [drain-node, node-failure]
"""


def test_every_combination_and_repetition_once(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, TWO_BY_TWO)
    assert len({run.name for run in runs}) == 8
    assert {(r.spec.policy, r.spec.scenario, r.repetition) for r in runs} == {
        (policy, scenario, repetition)
        for policy in ("drop", "flood")
        for scenario in ("drain-node", "node-failure")
        for repetition in (1, 2)
    }


def test_base_and_factors_override_the_scenario(tmp_path: Path) -> None:
    runs = runs_of(
        tmp_path,
        "base: {observe_s: 1, cluster: {nodes: 4}}\n"
        "factors: {scenario: [chassis-failure], cluster.clients: [1]}\n",
    )
    spec = runs[0].spec
    assert [event.kind for event in spec.events] == ["fail-chassis", "restore-chassis"]
    cluster = spec.cluster
    assert (cluster.chassis, cluster.nodes, cluster.clients) == (3, 4, 1)
    assert spec.observe_s == 1


def test_designs_share_seeds_and_nothing_else_does(tmp_path: Path) -> None:
    runs = runs_of(
        tmp_path,
        TWO_BY_TWO
        + "  balancer: [modulo, rendezvous]\n  workload.connections: [9, 10]\n",
    )
    circumstances: dict[tuple[object, ...], set[int]] = {}
    for run in runs:
        spec = run.spec
        key = (spec.scenario, spec.workload.connections, run.repetition)
        circumstances.setdefault(key, set()).add(spec.seed)
    assert all(len(seeds) == 1 for seeds in circumstances.values())
    assert len(set.union(*circumstances.values())) == len(circumstances) == 8


def test_weights_are_a_design_on_the_same_connections() -> None:
    """Known before there were weights: the seeds of suites without any stay."""
    plain = derived_seed(5, {"cluster": {"nodes": 5}}, 0)
    weighted = {"cluster": {"nodes": 5, "weights": {"c1": 2.0}}}
    assert derived_seed(5, weighted, 0) == plain
    only = {"cluster": {"weights": {"c1": 2.0}}}
    assert derived_seed(5, only, 0) == derived_seed(5, {}, 0) != plain


def test_weights_are_compared_as_designs(tmp_path: Path) -> None:
    text = (
        "base: {balancer: rendezvous, cluster: {nodes: 4}}\n"
        "factors:\n  cluster.weights: {even: {}, c2-twice: {c2: 2}}\n"
    )
    even, twice = runs_of(tmp_path, text)
    assert even.spec.seed == twice.spec.seed
    weights = [run.spec.cluster.weights for run in (even, twice)]
    assert sorted(weights, key=len) == [{}, {"c2": 2.0}]


def test_a_suite_that_grows_keeps_names_and_seeds(tmp_path: Path) -> None:
    before = {r.name: r.spec.seed for r in runs_of(tmp_path, TWO_BY_TWO)}
    grown = TWO_BY_TWO.replace("[drop,", "[client-only, drop,").replace(": 2", ": 3")
    after = {r.name: r.spec.seed for r in runs_of(tmp_path, grown)}
    assert before.items() <= after.items()
    assert len(after) == 18


def test_the_suites_seed_decides_seeds_and_order(tmp_path: Path) -> None:
    first, again = runs_of(tmp_path, TWO_BY_TWO), runs_of(tmp_path, TWO_BY_TWO)
    other = runs_of(tmp_path, TWO_BY_TWO.replace("seed: 5", "seed: 6"))
    assert [run.name for run in first] == [run.name for run in again]
    assert [run.title() for run in first] != [run.title() for run in other]
    assert {r.spec.seed for r in first}.isdisjoint(r.spec.seed for r in other)
    positions = [run.position for run in first]
    assert positions != sorted(positions), "the order is random"


def test_exceptions_take_combinations_away(tmp_path: Path) -> None:
    runs = runs_of(
        tmp_path, TWO_BY_TWO + "except:\n  - {policy: drop, scenario: [node-failure]}\n"
    )
    assert {run.title() for run in runs if run.repetition == 1} == {
        "drop drain-node #1",
        "flood drain-node #1",
        "flood node-failure #1",
    }


def test_levels_that_are_not_plain_values_have_names(tmp_path: Path) -> None:
    runs = runs_of(
        tmp_path,
        "factors:\n  events:\n    none: []\n    one: [{kind: drain-node, target: c1n1}]\n",
    )
    assert {run.levels["events"]: len(run.spec.events) for run in runs} == {
        "none": 0,
        "one": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factor: {policy: [drop]}", "mine.yaml:1: unknown key 'factor'; did you mean"),
        ("base: {seed: 3}", "seed belongs beside base"),
        ("factors: {seed: [1, 2]}", "seed cannot be a factor"),
        (
            "factors: {policy: [floood]}",
            "with {policy: floood}: policy: 'floood' is not",
        ),
        (
            "factors: {workload.connections: [5000]}",
            "with {workload.connections: 5000}: workload.connections: 5000 are too many",
        ),
        ("factors: {policy: []}", "expected a list of levels"),
        ("factors: {policy: [drop, drop]}", "twice"),
        ("factors: {events: [[]]}", "need names"),
        ("factors: {scenario: [nowhere]}", "'nowhere' is not one of"),
        (
            "factors: {cluster.chassis.x: [1]}\nbase: {cluster: {chassis: 2}}",
            "a spec has no such key",
        ),
        (
            "factors: {policy: [drop]}\nexcept: [{policy: flood}]",
            "is not a level of policy",
        ),
        ("factors: {policy: [drop]}\nexcept: [{ip: 4}]", "'ip' is not a factor"),
        ("factors: {policy: [drop]}\nexcept: [{policy: drop}]", "no run is left"),
        ("repetitions: 0", "repetitions"),
        ("- 1", "expected a mapping"),
    ],
)
def test_an_invalid_suite_is_refused_with_the_reason(
    text: str, message: str, tmp_path: Path
) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize("name", suite_names())
def test_suites_that_ship_can_be_run(name: str) -> None:
    path = find_suite(name)
    assert is_suite(name)
    assert is_suite(str(path))
    assert expand(load_suite(path), path)


def test_a_scenario_is_no_suite() -> None:
    assert not is_suite("drain-node")


def test_a_suites_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    message = refusal(tmp_path, "name: /etc/x\nfactors: {policy: [drop]}\n")
    assert "mine.yaml:1: name: '/etc/x' is not a valid name" in message
    message = refusal(tmp_path, "base: {scenario: ../x}\nfactors: {policy: [drop]}\n")
    assert "scenario: '../x' is not a valid name" in message


def test_a_suite_in_a_file_of_any_name_has_a_name(tmp_path: Path) -> None:
    path = tmp_path / "my suite.yaml"
    path.write_text("factors: {policy: [drop]}\n")
    assert load_suite(path).name == "my-suite"


@pytest.mark.parametrize("level", ["../../x", ".hidden", "-rf", "x" * 300, "é/é"])
def test_a_runs_folder_is_in_the_sweeps_for_any_names_of_levels(
    tmp_path: Path, level: str
) -> None:
    text = f"factors: {{cluster: {{{json.dumps(level)}: {{nodes: 2}}}}}}\n"
    (run,) = runs_of(tmp_path, text)
    runs = Path("/sweep/runs")
    assert Path(os.path.normpath(runs / run.name)).parent == runs
    assert run.name[0] not in "._-"
    assert len(f"{run.name}.log") <= 255
