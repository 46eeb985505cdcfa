"""The options that commands share: what they accept and refuse, and how errors are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from controller.balancers import BALANCERS
from controller.policies import POLICIES
from experiments.commands.choices import choices
from experiments.commands.cli_options import (
    DEFAULT_NAME,
    cluster_arguments,
    cluster_options,
    handles_errors,
    member_options,
    name_option,
)
from experiments.machine.requirements import RequirementMissing
from topologies.datapaths import DatapathMissing
from topologies.domain.link_options import LinkOptions, LinkOptionsError
from topologies.domain.plan import PlanError
from topologies.sandbox import AlreadyRunning, NotRunning, SandboxError

REGISTRIES = ("policy", "balancer", "guard", "workload", "datapath")


@click.command()
@name_option
@cluster_options
@member_options
@handles_errors
def up(name: str, **options: Any) -> None:
    """Prints the arguments that the real command would get."""
    plan, others = cluster_arguments(options)
    sizes = [len(plan.chassis), len(list(plan.nodes)), len(plan.clients)]
    click.echo(json.dumps({"name": name, "sizes": sizes, **others}))


def run(*words: str, command: click.Command = up) -> Result:
    return CliRunner().invoke(command, list(words))


def options_of(*words: str) -> dict[str, Any]:
    done = run(*words)
    assert done.exit_code == 0, done.output
    parsed = json.loads(done.output)
    assert isinstance(parsed, dict)
    return parsed


def refusal(*words: str) -> str:
    done = run(*words)
    assert done.exit_code == 2, done.output
    return done.output


def test_without_options_it_is_the_documented_cluster() -> None:
    assert options_of() == {
        "name": DEFAULT_NAME,
        "sizes": [2, 6, 2],
        "policy": "flood",
        "balancer": "modulo",
        "guard": "auto",
        "workload": "nbd",
        "datapath": "auto",
        "weights": {},
        "buckets": None,
        "pins": None,
        "servers": {},
        "links": LinkOptions().to_json(),
    }


@pytest.mark.parametrize("registry", REGISTRIES)
def test_exactly_the_names_of_a_registry_are_accepted(registry: str) -> None:
    for name in choices(registry):
        assert options_of(f"--{registry}={name}")[registry] == name
    message = refusal(f"--{registry}=nonesuch")
    assert "'nonesuch' is not one of: " in message
    assert all(name in message for name in choices(registry))


@pytest.mark.parametrize("registry", REGISTRIES)
def test_no_name_is_listed_twice(registry: str) -> None:
    assert len(set(choices(registry))) == len(choices(registry)) > 0


def test_an_unknown_registry_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        choices("color")


def test_names_come_from_the_registries() -> None:
    assert choices("policy") == tuple(POLICIES)
    assert choices("balancer") == tuple(BALANCERS)
    assert choices("guard")[0] == "auto"


def test_reset_and_policy_are_one_option_and_the_last_wins() -> None:
    assert options_of("--reset=drop")["policy"] == "drop"
    assert options_of("--reset=drop", "--policy=proactive")["policy"] == "proactive"


def test_weights_are_collected_and_the_last_of_a_name_wins() -> None:
    words = ["--weight=c1n2=0.5", "--weight=c2=3", "--weight=c1n2=2e0"]
    found = options_of("--balancer=rendezvous", *words)
    assert found["weights"] == {"c1n2": 2.0, "c2": 3.0}


@pytest.mark.parametrize(
    "weight",
    ["c1n2", "c1n2=", "=1", "c1n2=much", "c1n2=0", "c1n2=-1", "c1n2=1=1", "h 1=2"],
)
def test_an_invalid_weight_is_refused_with_an_example(weight: str) -> None:
    message = refusal("--balancer=rendezvous", f"--weight={weight}")
    assert f"{weight!r}: expected NAME=W, e.g. c1n2=0.5" in message


@pytest.mark.parametrize("weight", ["inf", "nan"])
def test_a_weight_that_is_not_a_finite_number_is_refused(weight: str) -> None:
    assert "--weight" in refusal("--balancer=rendezvous", f"--weight=c1n1={weight}")


def test_a_balancer_without_weights_refuses_them() -> None:
    message = refusal("--balancer=modulo", "--weight=c1n1=2")
    assert "--weight: balancer 'modulo' takes no weights" in message


def test_a_size_or_a_limit_that_makes_no_sense_is_refused() -> None:
    message = refusal("--balancer=maglev", "--buckets=1000")
    assert "--buckets: 1000 buckets: the number must be prime, e.g. 997" in message
    assert "--pins: policy 'flood' pins no connections" in refusal("--pins=8")
    found = options_of("--balancer=maglev", "--buckets=997", "--reset=jet", "--pins=8")
    assert (found["buckets"], found["pins"]) == (997, 8)


def test_servers_are_set_as_in_a_spec() -> None:
    given = options_of(
        "--workload=http", "--server=keepalive_s=60", "--server=keepalive_probes=3"
    )
    assert given["servers"] == {"keepalive_s": 60, "keepalive_probes": 3}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("slots", ["expected key=value"]),
        ("slot=3", ["unknown key 'servers.slot'", "did you mean 'slots'?"]),
        ("slots=none", ["servers.slots:", "integer"]),
        ("nop_count=2", ["nop_interval_s and nop_count: give both or neither"]),
        ("slots=0", ["servers.slots:", "greater than or equal to 1"]),
        ("keepalive_s=60", ["servers.keepalive_s", "nbd do not heed", "http"]),
    ],
)
def test_a_wrong_setting_of_servers_is_refused_with_the_remedy(
    setting: str, words: list[str]
) -> None:
    message = " ".join(refusal(f"--server={setting}").split())
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chassis=0"], "chassis"),
        (["--nodes=0"], "nodes"),
        (["--clients=-1"], "clients"),
        (["--chassis=two"], "--chassis"),
        (["--loss-percent=100"], "loss_percent"),
        (["--rate-mbit=0"], "rate_mbit"),
        (["--delay-ms=nan"], "delay_ms"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_impossible_sizes_and_links_are_bad_input(
    words: Sequence[str], message: str
) -> None:
    assert message in refusal(*words)


def test_links_are_plain_json_and_read_back() -> None:
    found = options_of("--rate-mbit=2.5", "--delay-ms=3", "--loss-percent=0.1")
    assert LinkOptions.from_json(found["links"]) == LinkOptions(2.5, 3, 0.1)
    assert not {"rate_mbit", "delay_ms", "loss_percent"} & set(found)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (AlreadyRunning("x runs"), 2, "x runs; choose another --name, or stop it"),
        (NotRunning("x does not run"), 2, "x does not run\n"),
        (SandboxError("no sandbox"), 2, "no sandbox\n"),
        (PlanError("no such plan"), 2, "no such plan\n"),
        (LinkOptionsError("no such link"), 2, "no such link\n"),
        (RequirementMissing("no tc"), 3, "no tc; see ./resetbed doctor\n"),
        (DatapathMissing("no module"), 3, "no module; see ./resetbed doctor\n"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_an_error_is_one_line_with_its_exit_status(
    error: Exception, status: int, message: str
) -> None:
    @click.command()
    @handles_errors
    def fails() -> None:
        raise error

    done = run(command=fails)
    assert (done.exit_code, message in done.output) == (status, True)
    assert done.output.count("\n") == 1


def test_an_unexpected_error_is_raised() -> None:
    @click.command()
    @handles_errors
    def fails() -> None:
        raise ZeroDivisionError

    assert isinstance(run(command=fails).exception, ZeroDivisionError)
