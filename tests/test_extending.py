"""``docs/extending.md``, carried out: each example as a file outside the packages."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from controller.balancers import BALANCERS, get_balancer
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.commands import cli
from experiments.prediction.predict import predict
from experiments.report.comparison import compare
from experiments.report.data import load_report
from experiments.spec.run_spec import RunSpec
from experiments.sweep import figures
from experiments.verdict.promises import expected
from experiments.workloads import WORKLOADS
from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, network
from tests.controller.frames import RST, from_node
from tests.experiments.run_folders import connection, moved, write_run
from tests.lint import CHECKOUT
from topologies.domain.balancer import Balancer
from topologies.domain.events import EVENTS
from topologies.domain.events.event import Event
from topologies.domain.registry import gathered

DOCUMENT = CHECKOUT / "docs" / "extending.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+)/(\w+)\.py\n")
_LINE = re.compile(r"# a line in (\w+) of ([\w/]+\.py)\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """What one line adds: to which name of which file, and the text of it."""

    registry: str
    file: Path
    text: str


def blocks(section: str) -> list[str]:
    """The blocks of code of one section."""
    text = DOCUMENT.read_text("utf-8")
    return _BLOCK.findall(text.partition(f"\n## {section}\n")[2].partition("\n## ")[0])


def lines(section: str) -> list[Line]:
    """The lines that a section adds."""
    found = [match for each in blocks(section) if (match := _LINE.match(each))]
    return [Line(one[1], CHECKOUT / one[2], one[3]) for one in found]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that is none of the testbed's."""
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield package
    for name in [n for n in sys.modules if n.split(".")[0] == "outside"]:
        del sys.modules[name]


def write(section: str, package: Path) -> str:
    """Writes the file of a section into that package; returns the module's name, which is
    what the section's line says, in the registry of the folder that it belongs to."""
    [code] = [each for each in blocks(section) if _FILE.match(each)]
    [line] = lines(section)
    place = _FILE.match(code)
    assert place
    (package / f"{place[2]}.py").write_text(code)
    if line.registry == "_MODULES":
        assert line.file == CHECKOUT / place[1] / "__init__.py"
        assert ast.literal_eval(f"({line.text})") == (place[2],)
    return place[2]


def test_every_example_line_belongs_to_a_file() -> None:
    sections = re.findall(r"^## (.*)$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(sections) == 6
    for section in sections:
        for line in lines(section):
            assert f"\n{line.registry}" in line.file.read_text("utf-8")
        files = sum(bool(_FILE.match(each)) for each in blocks(section))
        assert files <= 1
        assert lines(section)


def test_a_balancer(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("A balancer", outside)
    [balancer] = gathered("outside", [module], Balancer)
    monkeypatch.setitem(BALANCERS, balancer.name, balancer)
    spec = RunSpec.model_validate(
        {"balancer": "jump", "events": [{"kind": "drain-node", "target": "c1n3"}]}
    )
    seen = predict(spec)
    assert {owner for owner in seen.owners[0] if owner} == {n.name for n in PLAN.nodes}
    for before, after in zip(*seen.owners, strict=True):
        assert after == before or before == "c1n3"
    assert balancer.table([]) == ()
    assert network_of(balancer="jump").delivered("c1n1", reset())[0].place == "h1"


def test_a_reset_policy(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("A reset policy", outside)
    [policy] = gathered("outside", [module], type(POLICIES["flood"]))
    monkeypatch.setitem(POLICIES, policy.name, policy)
    arrivals = network_of("flood-twice").delivered("c1n1", reset())
    places = Counter(arrival.place for arrival in arrivals)
    assert arrivals[0].place == "h1"
    assert places == {"h1": 1, **{node.name: 2 for node in PLAN.nodes}}
    conditions = expected(RunSpec.model_validate({"policy": "flood-twice"}))
    assert conditions["half_open.at_end"] == "== half_open.out_of_reach"
    assert "claim.E5.passed" not in conditions


def test_a_membership_event(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("A membership event", outside)
    [event] = gathered("outside", [module], Event)
    monkeypatch.setitem(EVENTS, event.kind, event)
    events = [{"kind": "drain-chassis", "target": "c2"}]
    spec = RunSpec.model_validate({"events": events})
    before, after = predict(spec).owners
    assert any(owner and owner.startswith("c2") for owner in before)
    assert all(owner and owner.startswith("c1") for owner in after)
    with pytest.raises(ValueError, match="no node would be left in service"):
        RunSpec.model_validate({"cluster": {"chassis": 2}, "events": [*events, C1]})


C1 = {"kind": "drain-chassis", "target": "c1", "at": 1.0}


def test_a_workload(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("A workload", outside)
    [workload] = gathered("outside", [module], type(WORKLOADS["echo"]))
    monkeypatch.setitem(WORKLOADS, workload.name, workload)
    arguments = ["validate", "drain-node", "--set", "workload.kind=rpc"]
    told = CliRunner().invoke(cli.main, arguments)
    assert told.exit_code == 0
    assert "kind: rpc" in told.output
    more = [*arguments, "--set", "workload.connections=1001"]
    assert "holds at most 500" in CliRunner().invoke(cli.main, more).output
    large = [*arguments, "--set", "workload.pattern=large"]
    assert "a call has no room for it" in CliRunner().invoke(cli.main, large).output
    program = Path(workload.server(outside)[1])
    assert program.is_file()


def test_a_figure(tmp_path: Path) -> None:
    added = [
        figure
        for line in lines("A figure")
        for figure in eval(f"({line.text})", {"Figure": figures.Figure})
    ]
    figures.FIGURES.extend(added)
    try:
        folder = write_run(
            tmp_path / "runs" / "flood",
            "flood",
            [connection(1, "c2n1"), moved(7, reset=True, freed_ms=4.0)],
        )
        file = folder / "summary.json"
        summary = json.loads(file.read_text())
        summary["half_open"]["silent"] = 3
        summary["packets"] |= {"tier2_copies": 12, "node_resets": 2}
        file.write_text(json.dumps(summary))
        report = load_report(tmp_path / "runs")
        table = compare(report, report.settings, "all")
    finally:
        del figures.FIGURES[-len(added) :]
    titles = [column.title for column in table.columns][-2:]
    assert titles == ["Half-open, never spoke", "Tier-2 copies for each reset"]
    assert [cell.text for cell in table.lines[0].cells[-2:]] == ["3", "6"]


def test_a_command(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("A command", outside)
    [line] = lines("A command")
    [(name, place)] = ast.literal_eval(f"{{{line.text}}}").items()
    assert place == f"experiments.commands.{module}"
    monkeypatch.setitem(cli.ELSEWHERE, name, f"outside.{module}")
    told = CliRunner().invoke(cli.main, [name])
    assert [row.split()[0] for row in told.output.splitlines()] == list(BALANCERS)
    assert "List the balancers" in CliRunner().invoke(cli.main, ["--help"]).output


@pytest.mark.parametrize("text", ["", "A = B = len\n"], ids=["none", "two"])
def test_a_module_that_defines_no_single_one_is_refused(
    outside: Path, text: str
) -> None:
    (outside / "odd.py").write_text(text)
    with pytest.raises(LookupError, match=r"outside\.odd defines . of "):
        gathered("outside", ["odd"], type(len))


def network_of(policy: str = "flood", balancer: str = "modulo") -> Any:
    """The switches of a small cluster with that policy and that balancer, in memory."""
    chosen = get_balancer(balancer, {})
    return network(ClusterState(PLAN, ALL_IN_SERVICE, POLICIES[policy], chosen))


def reset() -> Any:
    """What c1n1 answers to a stray of h1."""
    return from_node(PLAN.find_node("c1n1"), H1, 40001, 4, RST)
