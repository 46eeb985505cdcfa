"""``./resetbed model`` as a command, and its spec."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.policies import POLICIES
from experiments.commands.cli import main
from experiments.model.model_spec import load_model_spec, model_spec_names
from experiments.model.model_table import GROUPS
from experiments.prediction.predict import predict
from experiments.spec.spec_file import find_spec, load_spec, scenario_names
from experiments.verdict.expectations import look_up

SMALL = ("--set", "model.connections=3000", "--set", "model.for_s=60")


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["model", *words])


def summaries(*words: str) -> list[dict[str, object]]:
    result = command(*words, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_is_accepted_and_moves_what_is_predicted(name: str) -> None:
    """At the first instant all is as in the prediction, under every policy."""
    predicted = predict(load_spec(find_spec(name)))
    found = summaries(name, "--compare")
    assert [one["policy"] for one in found] == list(POLICIES)
    for one in found:
        assert one["events"][0]["moved"] == predicted.moved(0)  # type: ignore[index]


@pytest.mark.parametrize("name", model_spec_names())
def test_every_shipped_spec_can_be_loaded(name: str) -> None:
    assert load_model_spec(name).model.connections


def test_policies_are_compared_on_the_same_connections() -> None:
    found = summaries("rack", "--compare", *SMALL)
    first = {json.dumps(one["events"][0]["moved"]) for one in found}  # type: ignore[index]
    assert len(first) == 1
    assert "0" not in first
    by_policy = {str(one["policy"]): one for one in found}
    left = {name: look_up(one, "half_open.at_end") for name, one in by_policy.items()}
    assert left["flood"] == 0 < left["client-only"]
    assert look_up(by_policy["stateful"], "pins.entries.peak") > 6000
    assert look_up(by_policy["second-chance"], "detours.peak") > 0
    assert look_up(by_policy["directed"], "packets.tier2_copies") < look_up(
        by_policy["flood"], "packets.tier2_copies"
    )


def test_the_same_seed_gives_the_same_figures_and_another_does_not() -> None:
    one, same, other = (
        summaries("rack", *SMALL, "--set", f"seed={seed}")[0] for seed in (1, 1, 2)
    )
    assert one == same
    assert one["connections"] != other["connections"]


def test_every_figure_of_the_table_has_a_key() -> None:
    (found,) = summaries("rack", *SMALL, "--set", "model.node_slots=100")
    rows = [row for rows in GROUPS.values() for row in rows]
    missing = [r.key for r in rows if look_up(found, r.key) is None]
    assert missing == ["pins.entries.peak", "pins.memory_mib"]
    assert look_up(found, "refused.peak") > 0


def test_the_folder_holds_the_figures_and_plots(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    result = command("drain-node", "--compare", "--out", str(folder))
    assert result.exit_code == 0, result.output
    assert "half-open" in result.stdout
    kept = json.loads((folder / "model.json").read_text())
    assert [one["policy"] for one in kept] == list(POLICIES)
    assert {path.name for path in folder.iterdir()} == {
        *("model.json", "spec.yaml", "courses.svg", "courses.pdf"),
        *("lifetimes.svg", "lifetimes.pdf"),
    }
    again = load_model_spec(str(folder / "spec.yaml"))
    assert again.scenario == "drain-node"
    assert yaml.safe_load((folder / "spec.yaml").read_text())["model"]["churn"] is None


def test_a_trace_is_followed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("start_s,duration_s\n-1,1000\n0.5,0.1\n" + "0,1000\n" * 30)
    given = ("--set", f"model.trace={trace}")
    (found,) = summaries("drain-node", *given)
    assert look_up(found, "connections.opened") == 32
    trace.write_text("start_s,duration_s\n1,x\n")
    result = command("drain-node", *given)
    assert (result.exit_code, f"{trace}:2" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no-such",), "no such scenario"),
        (("rack", "--set", "model.conections=5"), "did you mean 'connections'?"),
        (("rack", "--set", "model.for_s=null"), "model.for_s: churn never ends"),
        (("rack", "--set", "model.durations.kind=normal"), "model.durations"),
        (("drain-node", "--set", "model.churn={per_s: 1}"), "model.for_s"),
        (("rack", "--set", "model.trace=x.csv"), "has its own connections"),
    ],
)
def test_bad_input_names_the_key(words: tuple[str, ...], message: str) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert message in result.output


def test_a_runs_spec_has_no_section_of_the_model(tmp_path: Path) -> None:
    """``run`` refuses it: it would ignore a hundred million connections."""
    path = tmp_path / "mine.yaml"
    path.write_text("model: {connections: 5}\n")
    result = CliRunner().invoke(main, ["validate", str(path)])
    assert result.exit_code == 2
    assert "unknown key 'model'" in result.output
