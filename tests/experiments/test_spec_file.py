"""Specs: defaults that run, and refusals that name the key, its line and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.spec import names
from experiments.spec.run_spec import RunSpec
from experiments.spec.spec_file import (
    SpecError,
    find_spec,
    load_run,
    load_spec,
    scenario_names,
)

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a spec file of that text."""

    def _write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return _write


def test_an_empty_spec_is_a_whole_experiment(write: Write) -> None:
    spec = load_spec(write(""))
    assert spec == RunSpec(scenario="mine")


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_that_ships_is_valid(name: str) -> None:
    spec = load_spec(find_spec(name))
    assert spec.scenario == name
    assert spec.description
    assert spec.events


REFUSED = [
    pytest.param(
        "policy: flood\nclutser:\n  chassis: 2\n",
        ["mine.yaml:2", "'clutser'", "did you mean 'cluster'?"],
        id="unknown key at the top",
    ),
    pytest.param(
        "policy: flood\ncluster:\n  chassis: 2\n  node: 3\n",
        ["mine.yaml:4", "'cluster.node'", "did you mean 'nodes'?"],
        id="unknown key inside",
    ),
    pytest.param(
        "events:\n- {at: 0, kind: drain-node, target: c1n1}\n- kind: add-node\n  targt: c1\n",
        ["mine.yaml:4", "'events.1.targt'", "did you mean 'target'?"],
        id="unknown key in the second event",
    ),
    pytest.param(
        "policy: flod\n",
        ["mine.yaml:1", "policy", "'flod' is not one of", "flood"],
        id="unknown policy",
    ),
    pytest.param(
        "workload:\n  kind: http\n  pattern: pipelined\n",
        ["mine.yaml:1", "workload", "'pipelined'", "HTTP/1.1", "kind: nbd, iscsi"],
        id="a pattern that the workload's clients cannot follow",
    ),
    pytest.param(
        "cluster: {chassis: 0}\n",
        ["mine.yaml:1", "cluster.chassis", "greater than or equal to 1"],
        id="no chassis",
    ),
    pytest.param(
        "\n\nseed: twelve\n", ["mine.yaml:3", "seed"], id="a seed that is no number"
    ),
    pytest.param("- 1\n", ["mine.yaml:1", "mapping"], id="a list"),
    pytest.param("a: [\n", ["mine.yaml"], id="no YAML"),
    pytest.param(
        "events:\n"
        "- {at: 2, kind: add-node, target: c1}\n"
        "- {at: 1, kind: add-node, target: c1}\n",
        ["order"],
        id="events out of order",
    ),
    pytest.param(
        "seed: 1\nlinks: {rate_mbit: 0}\n",
        ["mine.yaml:2", "links: rate_mbit", "above 0", "leave it out"],
        id="a link without a rate",
    ),
    pytest.param(
        "servers: {keepalive_s: 60}\n",
        ["servers.keepalive_s", "nbd do not heed it", "that do: http, postgres"],
        id="a setting that the servers do not heed",
    ),
    pytest.param(
        "servers: {keepalive_probes: 128}\n",
        ["mine.yaml:1", "servers.keepalive_probes", "127"],
        id="more keepalives than the kernel sends",
    ),
    pytest.param(
        "links: {los_percent: 1}\n",
        ["'links.los_percent'", "did you mean 'loss_percent'?"],
        id="unknown key of links",
    ),
    pytest.param(
        "cluster: {weights: {c1: 2}}\n",
        ["cluster.weights", "'modulo' takes no weights", "rendezvous"],
        id="weights that the balancer does not take",
    ),
    pytest.param(
        "balancer: maglev\ncluster: {buckets: 1000}\n",
        ["cluster.buckets", "must be prime", "997 or 1009"],
        id="a size that the balancer does not take",
    ),
    pytest.param(
        "cluster: {buckets: 1000}\n",
        ["cluster.buckets", "'modulo' takes no number of buckets", "ring"],
        id="a size for a balancer without sizes",
    ),
    pytest.param(
        "cluster: {pins: 8}\n",
        ["cluster.pins", "'flood' pins no connections", "stateful, jet"],
        id="a limit of pins for a policy without pins",
    ),
    pytest.param(
        "balancer: rendezvous\ncluster: {weights: {c1n2: 0}}\n",
        ["cluster.weights", "c1n2", "above 0"],
        id="a weight of nothing",
    ),
    pytest.param(
        "balancer: rendezvous\ncluster: {weights: {c3: 2}}\n",
        ["cluster.weights", "'c3'", "c2n3"],
        id="a weight of an unknown member",
    ),
    pytest.param(
        "events: [{kind: drain-node, target: c1n9}]\n",
        ["events.0", "drain-node", "c1 has n1 to n3"],
        id="an event on a node that is not there",
    ),
    pytest.param(
        "events:\n"
        "- {kind: fail-node, target: c1n1}\n"
        "- {kind: fail-node, target: c1n1}\n",
        ["events.1", "has failed already"],
        id="an event that those before it made impossible",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_an_error_names_line_key_and_remedy(
    write: Write, text: str, message: list[str]
) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(write(text))
    for part in message:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: fio, connections: 129}", "fio holds at most 64"),
        ("{connections: 513, pattern: large}", "at most 256 with pattern large"),
    ],
)
def test_a_run_opens_no_more_connections_than_clients_hold(
    write: Write, text: str, message: str
) -> None:
    path = write(f"workload: {text}\n")
    assert load_spec(path), "connections that no client opens can still be predicted"
    with pytest.raises(SpecError, match=r"workload\.connections") as refused:
        load_run(path)
    assert message in str(refused.value)
    assert load_run(path, ("cluster.clients=3",)).cluster.clients == 3


def test_a_run_has_no_more_clients_than_its_servers_have_stores_for(
    write: Write,
) -> None:
    path = write("workload: {kind: iscsi-reserve}\n")
    assert load_run(path).cluster.clients == 2
    with pytest.raises(SpecError, match=r"cluster\.clients: 3 are too many.*at most 2"):
        load_run(path, ("cluster.clients=3",))
    with pytest.raises(
        SpecError, match=r"workload\.connections.*\(it may be up to 2\)"
    ):
        load_run(path, ("workload.connections=65",))


def test_overrides_are_laid_over_the_file(write: Write) -> None:
    path = write("policy: drop\ncluster: {chassis: 4}\n")
    overrides = ("cluster.nodes=5", "reset=client-only", "seed=7", "ip=ipv6")
    spec = load_spec(path, overrides)
    assert (spec.policy, spec.seed, spec.ip) == ("client-only", 7, 6)
    assert (spec.cluster.chassis, spec.cluster.nodes) == (4, 5)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("clusterchassis", "expected key=value"),
        ("cluster.chasis=3", "did you mean 'chassis'?"),
        ("seed.more=3", "a spec has no key seed.more"),
        ("policy=none", "is not one of"),
    ],
)
def test_an_invalid_override_is_refused(write: Write, item: str, message: str) -> None:
    with pytest.raises(SpecError, match="--set") as refused:
        load_spec(write("seed: 1\n"), (item,))
    assert message in str(refused.value)


def test_a_member_that_an_event_adds_may_have_a_weight(write: Write) -> None:
    grown = "events: [{kind: add-chassis, target: c3}]\n"
    path = write(f"balancer: rendezvous\ncluster: {{weights: {{c3: 2}}}}\n{grown}")
    assert load_spec(path).cluster.weights == {"c3": 2.0}


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'drain-node'"):
        find_spec("drain-nod")


NO_NAMES = ("/etc/x", "../x", "..", ".x", "", "a/b", "a b", "-x", "x\n", "x" * 65, "é")


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_scenarios_name_cannot_lead_out_of_the_folder(
    write: Write, name: str
) -> None:
    """Results are written as root into a folder of that name."""
    path = write(f"policy: drop\nscenario: {json.dumps(name)}\n")
    with pytest.raises(SpecError) as refused:
        load_spec(path)
    message = str(refused.value)
    assert "mine.yaml:2: scenario: " in message
    assert "1 to 64 letters, digits" in message
    with pytest.raises(SpecError, match=r"--set: scenario: "):
        load_spec(write(""), [f"scenario={json.dumps(name)}"])


@pytest.mark.parametrize(
    ("stem", "scenario"),
    [("my spec (2)", "my-spec-2"), (".hidden", "hidden"), ("…", "unnamed")],
)
def test_a_file_of_any_name_is_a_scenario(
    tmp_path: Path, stem: str, scenario: str
) -> None:
    path = tmp_path / f"{stem}.yaml"
    path.write_text("policy: drop\n")
    assert load_spec(path).scenario == scenario


@given(st.text())
def test_every_name_that_is_made_to_fit_is_one(text: str) -> None:
    assert names.check_name(names.valid_name(text)) == names.valid_name(text)


@given(st.text(alphabet="aZ5._-", min_size=1, max_size=64))
def test_a_name_stays_as_it_is(text: str) -> None:
    if text[0] not in "._-":
        assert names.check_name(text) == text
