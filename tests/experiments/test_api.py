"""The testbed from Python: what its calls give, against the files that runs leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars
import pytest
from matplotlib.figure import Figure

from experiments import api
from experiments.results.judge import judge_folder
from experiments.running import command_run
from experiments.running.command_run import NeedsRoot, RunFailed
from experiments.spec.spec_file import SpecError, find_spec, load_run
from experiments.sweep.figures import FIGURES
from tests.experiments.golden_runs import GoldenRun
from tests.lint import CHECKOUT

#: What a stand-in for the command does: it says a line, and leaves a recorded run.
_STAND_IN = """
import sys
from pathlib import Path
from experiments.record.recorded_runs import unpack_recorded
from experiments.results.judge import judge_folder
command, spec, option, out = sys.argv[1:]
assert (command, option) == ("run", "--out")
print("a table", flush=True)
print("opening", Path(spec).read_text().count("seed: 9"), file=sys.stderr, flush=True)
unpack_recorded("flood", Path(out))
judge_folder(Path(out))
"""
_FAILS = "import sys; print('no room', file=sys.stderr); sys.exit(3)"


@pytest.fixture(scope="module")
def flood() -> api.Run:
    return api.recorded("flood")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> api.Runs:
    folder = tmp_path_factory.mktemp("both")
    for name in ("drop", "flood"):
        api.recorded(name, folder / name)
    return api.load_all(folder)


def test_importing_the_interface_imports_no_library() -> None:
    code = "import sys, experiments.api; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "experiments" in loaded
    assert not loaded & {"polars", "matplotlib", "numpy", "yaml", "pydantic", "scapy"}


@pytest.mark.parametrize("name", api.recorded_names())
def test_a_recorded_run_has_the_figures_of_its_golden_record(
    name: str, tmp_path: Path
) -> None:
    """Unpacked by the interface and by the tests: the same files, judged the same."""
    one = api.recorded(name)
    GoldenRun.load(name).write(tmp_path)
    judge_folder(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    for figure in FIGURES:
        assert figure.of(one.summary) == figure.of(summary)
    assert one.connections().equals(api.load(tmp_path).connections())
    assert one.sockets().height > one.segments().filter(polars.col("frame") < 1).height


def test_a_recorded_runs_folder_goes_with_it() -> None:
    one = api.recorded("drop")
    path = one.path
    assert path.is_dir()
    del one
    assert not path.exists()


def test_frames_are_what_the_files_say(flood: api.Run) -> None:
    lines = (flood.path / "connections.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = flood.connections()
    assert found["connection"].to_list() == [row["connection"] for row in rows]
    kept = [row["half_open_s"] for row in rows if row["half_open_s"]]
    assert found["half_open_ms"].drop_nulls().to_list() == pytest.approx(
        [(end - begin) * 1e3 for begin, end in kept]
    )
    (event,) = flood.events().to_dicts()
    assert event["after_s"] == 0
    assert found["after_s"].drop_nulls().min() > 0  # type: ignore[operator]
    values = dict(flood.figures().iter_rows())
    assert values["connections.moved"] == flood.summary["connections"]["moved"] > 0
    assert values["half_open.lifetime_ms.p50"] > 0
    assert not [key for key in values if key.startswith(("cluster", "provenance"))]
    assert flood.expectations()["met"].all()
    assert flood.claim()["element"].to_list() == ["E1", "E2", "E3", "E4", "E5"]
    assert flood.spec.policy == "flood"
    assert repr(flood) == "<Run of drain-node, flood, seed 1: as-expected>"


def test_segments_and_sockets_are_those_of_the_record(flood: api.Run) -> None:
    golden = GoldenRun.load("flood")
    seen = flood.segments()
    assert seen["frame"].to_list() == [frame.seen.frame for frame in golden.frames]
    assert set(seen["at"]) == {frame.seen.label for frame in golden.frames}
    assert "RST" in set(seen["flags"])
    assert flood.sockets().height == len(golden.sockets)


def test_events_of_links_have_their_options_in_the_frame() -> None:
    events = api.recorded("link-degrades").events()
    assert events["kind"].to_list() == ["link", "drain-node", "link", "drain-node"]
    assert events["delay_ms"].to_list() == [20, None, None, None]
    assert events["after_s"].is_sorted()


@pytest.mark.parametrize(
    "name", ["timeline", "topology", "half-open-lifetime", "reset-latency"]
)
def test_a_plot_is_a_figure_that_a_notebook_shows(flood: api.Run, name: str) -> None:
    figure: Any = flood.plot(name)
    assert "<svg" in figure._repr_svg_()
    assert isinstance(figure, Figure)
    assert figure.axes


def test_a_plot_of_a_link_event_says_what_the_link_got() -> None:
    figure: Any = api.recorded("link-degrades").plot()
    assert "link c1n1 (20 ms, 1 % lost)" in figure._repr_svg_()
    assert "link c1n1 (not shaped)" in figure._repr_svg_()


def test_the_ladder_is_a_diagram_and_a_text(flood: api.Run) -> None:
    diagram = flood.ladder()
    assert "stray" in str(diagram)
    assert diagram._repr_svg_().startswith("<svg")


def test_a_run_without_a_reset_has_no_ladder(tmp_path: Path) -> None:
    one = api.recorded("drop", tmp_path / "drop")
    for file in one.path.glob("ladder.*"):
        file.unlink()
    with pytest.raises(api.NoRunError, match="no reset to show"):
        one.ladder()


def test_many_runs_are_a_table_with_the_figures_of_each(both: api.Runs) -> None:
    table = both.table()
    assert (len(both), table.height) == (2, 2)
    assert set(table["design"]) == {"drop", "flood"}
    assert [*table.columns[-len(FIGURES) :]] == [one.name for one in FIGURES]
    assert both.titles()["figure"].to_list() == [one.name for one in FIGURES]
    by_design = dict(table.select("design", "left").iter_rows())
    assert by_design["drop"] > by_design["flood"] == 0
    assert both["flood"].spec.policy == "flood"
    assert {one.spec.policy for one in both} == {"drop", "flood"}
    connections = both.connections()
    assert connections.height == sum(one.connections().height for one in both)
    assert connections["design"].n_unique() == 2
    assert both.plot().axes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flood, both: flood.plot("pie"), "timeline, topology, half-open"),
        (lambda flood, both: both.plot("pie"), "there are: half-open-lifetime"),
        (lambda flood, both: flood.plot("harm"), "e.g. postgres"),
        (lambda flood, both: flood.plot("comparison"), "at least two policies"),
        (lambda flood, both: api.recorded("floods"), "there are: .*drain-node"),
        (lambda flood, both: api.load(CHECKOUT / "docs"), "resetbed analyse"),
        (lambda flood, both: api.load_all(CHECKOUT / "docs"), "neither the folder"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    flood: api.Run, both: api.Runs, call: Any, message: str
) -> None:
    with pytest.raises(api.NoRunError, match=message):
        call(flood, both)


def test_a_run_without_a_record_says_so(flood: api.Run, tmp_path: Path) -> None:
    shutil.copytree(flood.path, tmp_path / "run")
    (tmp_path / "run" / "record.json").unlink()
    with pytest.raises(api.NoRunError, match="no record"):
        api.load(tmp_path / "run").segments()


def test_a_run_that_is_not_among_many_is_refused(both: api.Runs) -> None:
    with pytest.raises(KeyError, match="no run 'no' with figures; there are: .*flood"):
        both["no"]


def test_keys_mean_what_they_mean_in_a_file(tmp_path: Path) -> None:
    keys = {"policy": "drop", "events": [{"kind": "fail-node", "target": "c1n2"}]}
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(keys))
    settings = {"cluster.nodes": 5, "events.0.at": 0.5, "workload.interval_ms": 1e-5}
    words = "cluster.nodes=5", "events.0.at=0.5", "workload.interval_ms=0.00001"
    by_file = load_run(file, words)
    for given in (keys, file, str(file)):
        found = api.spec_of(given, settings)
        assert found.model_copy(update={"scenario": "mine"}) == by_file
    assert api.spec_of("drain-node") == load_run(find_spec("drain-node"))
    assert keys == {
        "policy": "drop",
        "events": [{"kind": "fail-node", "target": "c1n2"}],
    }


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"polcy": "drop"}, {}, "spec: unknown key 'polcy'; did you mean 'policy'"),
        ("drain-nod", {}, "did you mean 'drain-node'"),
        ({}, {"policy": "drp"}, "'drp' is not one of: drop"),
        (
            {"workload": {"connections": 5000}},
            {},
            "spec: workload.connections: .* many",
        ),
    ],
)
def test_a_wrong_spec_names_its_key_before_anything_is_built(
    given: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        api.run(given, settings)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        command_run, "_command", lambda: [sys.executable, "-c", _STAND_IN]
    )


@pytest.mark.usefixtures("stand_in")
def test_a_run_is_made_in_a_process_of_its_own_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    one = api.run("drain-node", {"seed": 9}, say=said.append)
    assert one.path.parent == tmp_path / "results"
    assert one.path.name.startswith("drain-node-flood-9-")
    assert said == ["opening 1"]
    assert one.outcome == "as-expected"
    with pytest.raises(ValueError, match="out .*is not an empty folder"):
        api.run("drain-node", out=one.path)


def test_a_run_without_results_raises_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_run, "_command", lambda: [sys.executable, "-c", _FAILS])
    with pytest.raises(RunFailed, match=r"status 3, without results(?s:.*)no room"):
        api.run({}, out=tmp_path / "run", say=lambda _line: None)


@pytest.mark.parametrize("sudo", ["asks", "missing", "lets us"])
def test_without_root_sudo_is_used_or_the_remedy_told(
    sudo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sudo != "missing":
        program = tmp_path / "sudo"
        program.write_text(f"#!/bin/sh\nexit {int(sudo == 'asks')}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if sudo == "lets us":
        assert command_run._command() == [str(CHECKOUT / "resetbed")]
        return
    with pytest.raises(NeedsRoot, match=r"load\(DIR\); or start Jupyter as root"):
        api.run({}, out=tmp_path / "out")


@pytest.mark.live
def test_a_live_run_is_as_expected(tmp_path: Path) -> None:
    """A real one: of a mapping of keys, changed by a setting."""
    keys = {"workload": {"kind": "echo", "connections": 24}, "observe_s": 0.6}
    event = [{"kind": "drain-node", "target": "c1n2"}]
    said: list[str] = []
    one = api.run(
        {**keys, "events": event}, {"heal": False}, tmp_path / "r", said.append
    )
    assert one.spec.healing is False
    assert one.connections().filter(polars.col("moved")).height > 0
    assert "drain-node c1n2" in said
    assert one.outcome != "unexpected"
