"""The JSON Schemas that ship: made from the models, and valid for every file that ships."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from controller.balancers import BALANCERS
from controller.policies import POLICIES
from experiments.commands.cli import main
from experiments.commands.schema import NAMES
from experiments.model.model_spec import SPECS as COMPUTED
from experiments.model.plan_spec import PlanSpec
from experiments.published.published_rows import ROWS
from experiments.schemas.json_schemas import FOLDER, SCHEMAS, schema_text
from experiments.spec.run_spec import RunSpec
from experiments.spec.spec_file import SCENARIOS
from experiments.sweep.suite_file import SUITES
from experiments.workloads import WORKLOADS
from tests.experiments.golden_runs import FOLDER as GOLDEN
from tests.experiments.golden_runs import GoldenRun
from topologies.domain.events import EVENTS, LINK

SHIPPED = {
    **dict.fromkeys(sorted(SCENARIOS.glob("*.yaml")), "spec"),
    **dict.fromkeys(sorted(SUITES.glob("*.yaml")), "suite"),
    **dict.fromkeys(sorted(COMPUTED.glob("*.yaml")), "model"),
    ROWS: "published",
}
every_schema = pytest.mark.parametrize("of", SCHEMAS)
every_file = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


@cache
def kept(of: str) -> Any:
    """That schema as it ships."""
    return json.loads((FOLDER / f"{of}.schema.json").read_text("utf-8"))


def wrong(of: str, data: Any, schema: Any = None) -> list[str]:
    """Errors that a schema finds in data."""
    validator = jsonschema.Draft202012Validator(schema or kept(of))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(data)]


@every_schema
def test_the_shipped_schemas_are_those_of_the_models(of: str) -> None:
    again = f"make it again: ./resetbed schema {of} > schemas/{of}.schema.json"
    assert kept(of) == json.loads(schema_text(of)), again


@every_schema
def test_every_schema_is_valid(of: str) -> None:
    jsonschema.Draft202012Validator.check_schema(kept(of))


@every_schema
def test_the_command_prints_it(of: str) -> None:
    assert CliRunner().invoke(main, ["schema", of]).output == schema_text(of)


@every_file
def test_every_shipped_file_is_valid(path: Path) -> None:
    assert wrong(SHIPPED[path], yaml.safe_load(path.read_text("utf-8"))) == []


@every_file
def test_every_shipped_file_names_its_schema(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[0]
    comment, _, place = first.partition("=")
    assert comment == "# yaml-language-server: $schema"
    assert (path.parent / place).resolve() == FOLDER / f"{SHIPPED[path]}.schema.json"


def test_no_shipped_file_is_without_a_schema() -> None:
    """Also one of a new kind, in a folder that no list above knows."""
    shipped = set(FOLDER.parent.glob("experiments/**/*.yaml"))
    assert shipped == SHIPPED.keys()
    assert set(NAMES) == SCHEMAS.keys()


def test_the_first_line_is_enough_for_an_editor() -> None:
    """A wrong key in any shipped file is found by the schema that its first line names."""
    for path in SHIPPED:
        place = path.read_text("utf-8").splitlines()[0].partition("=")[2]
        schema = json.loads((path.parent / place).read_text("utf-8"))
        data = yaml.safe_load(path.read_text("utf-8"))
        assert wrong("", {**data, "no_such_key": 1}, schema), path


def test_a_plan_has_limits_and_all_that_a_computation_has() -> None:
    limits = {"half_open_p99_s": 0.5, "hung": None, "detours": 3}
    plan = {"limits": limits, "model": {"for_s": 60}, "reset": "drop"}
    assert PlanSpec.model_validate(plan)
    assert wrong("plan", plan) == []
    complete = PlanSpec.model_validate(plan).model_dump(mode="json")
    assert wrong("plan", complete) == []
    assert wrong("model", plan)
    for bad in ({"hung": -1}, {"half_open_kib": 0}, {"hangs": 1}):
        assert len(wrong("plan", {"limits": bad})) == 1


def test_a_change_of_a_link_is_valid() -> None:
    event = {"kind": "link", "target": "h1", "delay_ms": 5, "loss_percent": 1}
    assert wrong("spec", {"events": [event]}) == []
    [found] = wrong("spec", {"events": [{**event, "delay": 5}]})
    assert "'delay'" in found


def test_a_complete_spec_is_valid() -> None:
    spec = RunSpec.model_validate({"events": [{"kind": "fail-node", "target": "c1n2"}]})
    assert wrong("spec", spec.model_dump(mode="json")) == []


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"polcy": "flood"}, "'polcy'"),
        ({"policy": "flod"}, "$.policy"),
        ({"cluster": {"nodes": 0}}, "$.cluster.nodes"),
        ({"workload": {"kind": "nfs3"}}, "$.workload.kind"),
        ({"events": [{"kind": "drain-node"}]}, "$.events[0]"),
        ({"ip": 5}, "$.ip"),
        ({"scenario": "../x"}, "$.scenario"),
    ],
    ids=str,
)
def test_an_invalid_spec_is_refused(spec: Any, place: str) -> None:
    [found] = wrong("spec", spec)
    assert place in found


SPECS = [{}, {"reset": "drop"}, {"ip": "ipv6"}, {"expect": {"claim.E1.passed": True}}]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_valid_spec_is_accepted(spec: Any) -> None:
    assert RunSpec.model_validate(spec)
    assert wrong("spec", spec) == []


@pytest.mark.parametrize(
    "suite",
    [
        {"factors": {"policy": "drop"}},
        {"factors": {"policy": []}},
        {"factors": {"events": [[{"kind": "drain-node", "target": "c1n1"}]]}},
        {"base": {"seed": 1}},
        {"base": {"observe_s": -1}},
        {"except": ["drop"]},
        {"exceptions": []},
    ],
    ids=str,
)
def test_an_invalid_suite_is_refused(suite: Any) -> None:
    assert wrong("suite", suite)


def test_names_are_completed_from_the_registries() -> None:
    parts = kept("spec")["$defs"]
    assert kept("spec")["properties"]["policy"]["enum"] == list(POLICIES)
    assert kept("spec")["properties"]["balancer"]["enum"] == list(BALANCERS)
    assert parts["EventSpec"]["properties"]["kind"]["enum"] == [*EVENTS, LINK]
    assert parts["WorkloadSpec"]["properties"]["kind"]["enum"] == list(WORKLOADS)


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_summary_has_the_keys_of_the_schema_and_no_others(
    name: str, tmp_path: Path
) -> None:
    summary = json.loads(json.dumps(GoldenRun.load(name).summary(tmp_path)))
    assert wrong("summary", summary) == []
    assert wrong("summary", summary, closed(kept("summary"))) == []


def test_the_summary_of_a_later_version_is_valid(tmp_path: Path) -> None:
    summary = json.loads(json.dumps(GoldenRun.load("drop").summary(tmp_path)))
    assert wrong("summary", {**summary, "later": 1}) == []
    assert wrong("summary", {**summary, "later": 1}, closed(kept("summary")))
    del summary["half_open"]["peak"]
    assert wrong("summary", summary) == ["$.half_open: 'peak' is a required property"]


def closed(schema: Any) -> Any:
    """That schema, without further keys."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found:
        found["additionalProperties"] = False
    return found
