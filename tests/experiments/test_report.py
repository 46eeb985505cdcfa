"""The report from invented runs: figures, marks, the page's structure and its colours."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from experiments.report import distributions, timeline, topology
from experiments.report.comparison import BEST, WORST, compare, findings
from experiments.report.data import NothingToReport, Report, labels, load_report
from experiments.report.report import write_report
from experiments.report.survival import ended_share, quantile
from experiments.report.theme import COLOURS, SERIES, line_style
from experiments.results.run_folder import RunFolder
from experiments.sweep.suite_file import expand, find_suite, load_suite
from tests.experiments.contrast import contrast
from tests.experiments.run_folders import (
    END_S,
    EVENT,
    START_S,
    connection,
    moved,
    write_run,
)

STAYED = [connection(port, "c2n1") for port in (1, 2, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three designs on the same connections."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    freed = {"drop": None, "client-only": None, "flood": 4.0}
    for policy, freed_ms in freed.items():
        rows = [moved(p, reset=policy != "drop", freed_ms=freed_ms) for p in (7, 8)]
        write_run(runs / policy, policy, STAYED + rows)
    return runs


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return load_report(folder)


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    """The page, made once."""
    return write_report(folder).read_text("utf-8")


class Alone(NamedTuple):
    """One run with its report; its files' digests before and after that was written."""

    folder: Path
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    run = tmp_path_factory.mktemp("alone") / "run"
    ignored = shutil.ignore_patterns("figures", "*.html")
    shutil.copytree(folder / "flood", run, ignore=ignored)
    before = _digests(run)
    write_report(run)
    return Alone(run, before, _digests(run))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_share_ended_without_censoring_is_the_empirical_function() -> None:
    curve = ended_share([(3.0, False), (1.0, False), (2.0, False), (2.0, False)])
    assert _flat(curve.steps) == pytest.approx((1, 0.25, 2, 0.5, 2, 0.75, 3, 1))
    assert curve.marks == ()


def test_share_ended_with_censoring_is_kaplan_and_meiers() -> None:
    # Computed by hand: 4 at risk, one ends; one leaves; 2 at risk, one ends.
    curve = ended_share([(1.0, False), (2.0, True), (3.0, False), (4.0, True)])
    assert _flat(curve.steps) == pytest.approx((1, 0.25, 3, 1 - 0.75 * 0.5))
    assert _flat(curve.marks) == pytest.approx((2, 0.25, 4, 0.625))
    assert quantile(curve, 0.5) == 3
    assert quantile(curve, 0.9) is None


def _flat(points: tuple[tuple[float, float], ...]) -> tuple[float, ...]:
    return tuple(value for point in points for value in point)


def with_events(folder: RunFolder, *events: str) -> RunFolder:
    """That run, as if those had happened at one instant."""
    pairs = [event.split() for event in events]
    shown = [{"kind": kind, "target": target, **EVENT} for kind, target in pairs]
    return replace(folder, summary={**folder.summary, "events": shown})


def test_events_of_one_instant_are_one_change(report: Report) -> None:
    both = with_events(report.of("flood")[0], "drain-node c1n2", "fail-node c2n3")
    assert [event[0] for event in timeline.timeline_of(both).events] == [
        "drain-node c1n2 + fail-node c2n3"
    ]
    assert len(both.states) == 2
    assert both.state_at(START_S - 1) is both.states[0]
    assert both.state_at(START_S) is both.states[1]


def test_a_cut_off_chassis_is_drawn_as_such_and_keeps_its_connections(
    report: Report,
) -> None:
    cut = with_events(report.of("client-only")[0], "uplink-down c1", "fail-node c1n3")
    after = {change.after.name: change.after for change in topology.changes(cut)}
    words = [after[name].state for name in ("c1n1", "c1n2", "c1n3", "c2n1")]
    assert words == ["cut off", "cut off", "failed", "in service"]
    assert after["c1n2"].half_open == 2


def test_half_open_lasts_until_the_owner_frees_it_or_the_end(report: Report) -> None:
    flood, drop = report.of("flood")[0], report.of("drop")[0]
    assert [round(t, 6) for t, _ in distributions.lifetimes(flood)] == [4.0, 4.0]
    kept = distributions.lifetimes(drop)
    assert [censored for _, censored in kept] == [True, True]
    assert kept[0][0] == pytest.approx((END_S - START_S - 0.12) * 1e3, abs=0.01)


def test_best_and_worst_are_marked_with_ties(report: Report) -> None:
    table = compare(report, report.settings, "all")
    column = [figure.name for figure in table.columns].index("left")
    marks = {line.design: line.cells[column].mark for line in table.lines}
    assert marks == {"drop": WORST, "client-only": WORST, "flood": BEST}
    moved_column = [figure.name for figure in table.columns].index("moved")
    assert {line.cells[moved_column].mark for line in table.lines} == {None}


def test_what_has_not_ended_is_a_lower_bound(report: Report) -> None:
    table = compare(report, report.settings, "all")
    column = [figure.name for figure in table.columns].index("lifetime")
    texts = {line.design: line.cells[column].text for line in table.lines}
    assert texts == {"drop": "≥ 1.88 s", "client-only": "≥ 1.88 s", "flood": "4 ms"}


def test_findings_name_the_design_and_what_it_leaves(report: Report) -> None:
    sentences = list(findings(report))
    assert "No half-open connection is left by flood." in sentences
    assert "Clients hang with drop (2 a run)." in sentences
    assert "No acknowledged write is lost with any design." in sentences
    assert any("in 1 of 1 groups" in sentence for sentence in sentences)


def test_the_course_counts_half_open_connections(report: Report) -> None:
    flood = timeline.timeline_of(report.of("flood")[0])
    assert (flood.peak, flood.remaining, len(flood.freed)) == (2, 0, 2)
    assert flood.strays == pytest.approx((120, 120))
    assert timeline.timeline_of(report.of("drop")[0]).remaining == 2


def test_nodes_before_and_after(report: Report) -> None:
    nodes = {n.after.name: n for n in topology.changes(report.of("drop")[0])}
    drained = nodes["c1n2"]
    assert (drained.before.state, drained.before.serving) == ("in service", 2)
    assert drained.after == ("c1n2", "c1", "drained", 0, 2)
    assert nodes["c2n1"].after.serving == 3


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def ids(self) -> list[str]:
        return [str(a["id"]) for _, a in self.tags if "id" in a]


def test_the_page_is_self_contained(page: Page) -> None:
    assert not page.all("script", "iframe", "object")
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, target)


def test_every_reference_leads_to_one_place(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for _, attributes in page.tags:
        for target in (
            attributes.get("href") or "",
            attributes.get("xlink:href") or "",
        ):
            if target.startswith("#"):
                assert target[1:] in page.ids
        for label in (attributes.get("aria-labelledby") or "").split():
            assert label in page.ids


def test_the_page_is_accessible(page: Page) -> None:
    html = page.all("html")[0]
    assert html["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(a.get("scope") for a in page.all("th"))
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-hidden") == "true" for a in page.all("svg"))
    plots = [a for a in page.all("div") if a.get("class") == "plot"]
    assert plots
    assert all(a.get("role") == "img" and a.get("aria-label") for a in plots)
    scrolling = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert all(
        a.get("tabindex") == "0" and a.get("role") == "region" for a in scrolling
    )


def test_a_second_report_is_identical_and_changes_no_data(alone: Alone) -> None:
    assert alone.before.items() <= alone.after.items()
    write_report(alone.folder)
    assert _digests(alone.folder) == alone.after


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_plots_are_files_for_papers_too(folder: Path, text: str) -> None:
    names = {path.name for path in (folder / "figures").iterdir()}
    for plot in ("comparison", "half-open-lifetime", "reset-latency", "timeline-flood"):
        assert f"figures/{plot}.svg" in text
        assert {f"{plot}.svg", f"{plot}.pdf"} <= names


def test_servers_as_shipped_add_nothing_to_a_designs_name() -> None:
    path = find_suite("dead-clients")
    suite = load_suite(path)
    named = {labels(run, suite) for run in expand(suite, path)}
    tuned = [f"client-only · {how}" for how in ("keepalive", "user timeout", "both")]
    assert named == {
        (design, f"workload.interval_ms {pause}")
        for design in ("client-only", "flood", *tuned)
        for pause in (20, 200)
    }


def test_one_run_alone_has_a_report(alone: Alone) -> None:
    text = (alone.folder / "report.html").read_text("utf-8")
    assert "./resetbed run" in text
    assert "a &lt;frame&gt;" in text, "what comes from a run is text, never markup"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToReport):
        load_report(tmp_path)


@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_contrast_meets_wcag_aa(dark: int, ground: str) -> None:
    for role in ("ink", "faint", "link", "good", "bad", "stray", "reset"):
        ratio = contrast(COLOURS[role][dark], COLOURS[ground][dark])
        assert ratio >= 4.5, f"{role} as text on {ground}: {ratio:.2f}"
    for role in ("edge", "freed", *(f"series-{n}" for n in range(SERIES))):
        ratio = contrast(COLOURS[role][dark], COLOURS[ground][dark])
        assert ratio >= 3, f"{role} as a line on {ground}: {ratio:.2f}"


def test_designs_differ_by_more_than_colour() -> None:
    styles = [line_style(n) for n in range(SERIES)]
    assert len({style.marker for style in styles}) == SERIES
    assert len({pair.light for pair in COLOURS.values()}) == len(COLOURS)
