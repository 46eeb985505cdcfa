"""A small sweep, killed and resumed; its tables; its report in a real browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import polars
import pytest

from experiments.sweep.state import MET, read_lines, read_records
from tests.needed_programs import need_program
from tests.system.commands import UNTRUSTED, eventually, must, processes_with, resetbed

pytestmark = pytest.mark.live

RUNS = 4
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Swept(NamedTuple):
    """A sweep's folder, and the time of each summary that stood there at the kill."""

    folder: Path
    made_before: dict[str, int]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The suite ``tiny``, killed while its second run is at work, then resumed."""
    folder = tmp_path_factory.mktemp("sweep") / "tiny"
    command = (
        sys.executable,
        "-m",
        "experiments",
        "sweep",
        "tiny",
        "--out",
        str(folder),
    )
    first = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    state = folder / "state.jsonl"
    try:
        eventually("a run done", lambda: read_records(state), 60)
        eventually(
            "the next at work", lambda: len(list((folder / "runs").iterdir())) > 1
        )
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    eventually("no run at work", lambda: not processes_with(str(folder)))
    records = read_records(state).items()
    done = {name: _made(folder, name) for name, one in records if one.outcome == MET}
    resume = resetbed("sweep", "tiny", "--out", str(folder))
    for _ in range(2):
        # A run on a busy machine may be untrusted; that is no fault of the sweep.
        if resume.returncode != UNTRUSTED:
            break
        resume = resetbed("sweep", "tiny", "--out", str(folder), "--retry-failed")
    must(resume)
    return Swept(folder, done)


def _made(folder: Path, run: str) -> int:
    return (folder / "runs" / run / "summary.json").stat().st_mtime_ns


def test_completed_runs_are_not_repeated(swept: Swept) -> None:
    assert swept.made_before
    for run, made in swept.made_before.items():
        assert _made(swept.folder, run) == made
    lines = [
        x["run"]
        for x in read_lines(swept.folder / "state.jsonl")
        if x["what"] == "run" and x["outcome"] == MET
    ]
    assert len(lines) == len(set(lines)) == RUNS
    assert len(list((swept.folder / "runs").iterdir())) == RUNS


def test_a_complete_sweep_repeats_no_run(swept: Swept) -> None:
    done = resetbed("sweep", "tiny", "--out", str(swept.folder))
    assert f"{RUNS} of {RUNS} runs are done already" in done.stderr
    assert "0 to do" in must(
        resetbed("sweep", "tiny", "--out", str(swept.folder), "--dry-run")
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_tables_hold_every_run_and_connection(swept: Swept, suffix: str) -> None:
    runs, connections, summary = (
        _table(swept.folder / f"{name}.{suffix}")
        for name in ("runs", "connections", "summary")
    )
    assert runs.height == RUNS
    assert set(runs["outcome"]) == {MET}
    opened = sum(_summary(swept, run)["connections"]["moved"] for run in runs["run"])
    assert connections.filter(polars.col("moved")).height == opened
    left = summary.filter(figure="left", policy="flood")
    assert left["median"].to_list() == [0.0]
    assert left["n"].to_list() == [2]


def _table(path: Path) -> polars.DataFrame:
    if path.suffix == ".csv":
        return polars.read_csv(path, infer_schema_length=None)
    return polars.read_parquet(path)


def _summary(swept: Swept, run: str) -> dict[str, dict[str, int]]:
    path = swept.folder / "runs" / run / "summary.json"
    summary: dict[str, dict[str, int]] = json.loads(path.read_text())
    return summary


def test_designs_have_the_same_connections(swept: Swept) -> None:
    runs = polars.read_parquet(swept.folder / "runs.parquet")
    groups = runs.group_by("repetition").agg(
        polars.col("policy").n_unique(),
        polars.col("seed").n_unique(),
        polars.col("moved_digest").n_unique().alias("moved"),
    )
    assert groups.select("policy", "seed", "moved").rows() == [(2, 1, 1), (2, 1, 1)]
    assert runs["seed"].n_unique() == 2


def test_half_open_lifetimes_agree_with_the_summaries(swept: Swept) -> None:
    connections = polars.read_parquet(swept.folder / "connections.parquet")
    for (run,), rows in connections.group_by("run"):
        half_open = json.loads(
            (swept.folder / "runs" / str(run) / "summary.json").read_text()
        )["half_open"]
        lives = rows.drop_nulls("half_open_ms")
        assert lives.height == half_open["count"]
        assert lives["half_open_censored"].sum() == half_open["at_end"]
        assert lives["half_open_ms"].max() == pytest.approx(
            half_open["lifetime_ms"]["max"], abs=0.01
        )


class Visit(NamedTuple):
    """A page as a browser shows it."""

    dom: str
    console: list[str]
    requests: list[str]


def visit(page: Path, scratch: Path) -> Visit:
    """Opens a page in headless Chromium; its DOM, console, and where it turned to.

    No name can be resolved, so that nothing leaves the machine: a browser has errands
    of its own, whose initiator is "not an origin".
    """
    net_log = scratch / "net.json"
    command = (
        need_program(*BROWSERS), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={scratch / 'profile'}", "--enable-logging=stderr",
        f"--log-net-log={net_log}", "--dump-dom", page.as_uri(),
    )  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    events = json.loads(net_log.read_text())["events"]
    asked = (event.get("params", {}) for event in events)
    ours = [a for a in asked if a.get("initiator", "not an origin") != "not an origin"]
    urls = {str(a["url"]) for a in ours if "url" in a}
    return Visit(done.stdout, console, sorted(u for u in urls if u.startswith("http")))


def test_the_report_opens_in_a_browser(swept: Swept, tmp_path: Path) -> None:
    must(resetbed("report", str(swept.folder)))
    seen = visit(swept.folder / "report.html", tmp_path)
    assert seen.console == []
    assert seen.requests == []
    for section in ("comparison", "distributions", "runs", "all-runs", "reproduce"):
        assert f'<h2 id="{section}">' in seen.dom
    assert seen.dom.count("<svg") >= 2 * (3 + 2 * 2), "each plot, wide and narrow"
    assert seen.dom.count('class="ladder"') == 2


def test_the_browser_check_finds_errors(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<script>console.log('x')</script><img src='http://nowhere.invalid/'>"
    )
    seen = visit(page, tmp_path)
    assert seen.console
    assert seen.requests
