"""Renders the report as one self-contained HTML file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.display.render import milliseconds
from experiments.report import distributions, harm_plot, overview, timeline, topology
from experiments.report.canvas import Plot, plot
from experiments.report.comparison import Comparison, compare, findings
from experiments.report.data import Entry, Report
from experiments.report.templates import templates
from experiments.report.theme import variables
from experiments.results.run_folder import AGREEMENT, RunFolder
from experiments.sweep.bootstrap import CONFIDENCE, MIN_VALUES, RESAMPLES
from experiments.sweep.state import FAILED, MET, UNTRUSTED

_HERE = Path(__file__).parent
#: The style of this page, and of others like it.
CSS = _HERE / "page.css"


class Distribution(NamedTuple):
    """A plot, and its data as a table."""

    plot: Plot
    samples: Sequence[distributions.Sample]


class Example(NamedTuple):
    """One run in detail."""

    entry: Entry
    timeline: Plot
    topology: Plot
    nodes: list[topology.NodeChange]
    ladder: str | None  # a data URL
    ladder_text: str | None
    claim: Sequence[dict[str, Any]]
    agreement: dict[str, Any] | None  # with the model, if it was held against this run
    spec: str
    command: str
    shown: bool  # whether its section is open at first


def page(report: Report, figures: Path) -> str:
    """The page as text. Also writes its plots to ``figures``."""
    environment = templates(_HERE)
    environment.filters["ms"] = lambda v: "–" if v is None else milliseconds(v)
    return environment.get_template("page.html.j2").render(
        report=report,
        css=CSS.read_text(),
        light=variables(dark=False),
        dark=variables(dark=True),
        comparisons=_comparisons(report),
        findings=list(findings(report)),
        overview=_overview(report, figures),
        harm=_harm(report, figures),
        distributions=_distributions(report, figures),
        examples=_examples(report, figures),
        agreements=_agreements(report),
        failed=[entry for entry in report.entries if entry.outcome == FAILED],
        untrusted=[e for e in report.entries if e.outcome == UNTRUSTED],
        outcomes={
            MET: "as expected",
            FAILED: "failed",
            UNTRUSTED: "cannot be trusted",
        },
        facts=_facts(report),
        reproduce=_reproduce(report),
        interval=f"{CONFIDENCE:.0%} bootstrap interval of the median, {RESAMPLES:,} "
        f"resamples, from {MIN_VALUES} runs on",
    )


def _comparisons(report: Report) -> list[Comparison]:
    """All settings together if there are several, then each setting."""
    each = [compare(report, (name,), name) for name in report.settings]
    if len(report.settings) == 1 or not report.common:
        return each
    words = (
        "all" if len(report.common) == len(report.settings) else "those shared by all"
    )
    caption = (
        f"{len(report.common)} events together ({words}): {', '.join(report.common)}"
    )
    return [compare(report, report.common, caption), *each]


def _overview(report: Report, figures: Path) -> Plot | None:
    if len(report.designs) < 2:
        return None
    settings = report.common or report.settings
    return plot(
        "comparison",
        "Designs side by side",
        "A dot for each run, a marker at the median, a bar for its interval. "
        "The table above has the same figures.",
        overview.drawing(report, settings),
        figures,
    )


def _harm(report: Report, figures: Path) -> Plot | None:
    """Locks over time, where the workload holds locks."""
    by_design = harm_plot.courses(report)
    if not by_design:
        return None
    return plot(
        "harm",
        "Locks that nobody's client holds",
        "One run of each design. Left: locks held by sessions whose client had gone. "
        "Right: clients that were reset and wait for their own lock. Dashed: the events. The comparison above "
        "has the same figures of all runs.",
        harm_plot.drawing(by_design),
        figures,
    )


def _distributions(report: Report, figures: Path) -> list[Distribution]:
    """Lifetime and latency, each as a plot and as a table."""
    plots = []
    for name, title, what, measure, axis in (
        (
            "half-open-lifetime",
            "Half-open lifetime",
            "The share of half-open connections that their owner had freed by that time. "
            "A triangle is a connection still half open at the end of the observation "
            "(Kaplan–Meier estimate).",
            distributions.lifetimes,
            "time since the first stray segment",
        ),
        (
            "reset-latency",
            "Reset latency",
            "The share of reset clients whose socket had been reset by that time.",
            distributions.latencies,
            "time since the first stray segment",
        ),
    ):
        samples = distributions.samples(report, measure)
        draw = distributions.drawing(
            report, samples, axis, "still half open at the end"
        )
        plots.append(Distribution(plot(name, title, what, draw, figures), samples))
    return plots


def _examples(report: Report, figures: Path) -> list[Example]:
    chosen = list(report.examples())
    passed = [_passed_elements(entry.folder) for entry in chosen if entry.folder]
    first = passed.index(max(passed))
    return [
        _example(entry, entry.folder, report, figures, at == first)
        for at, entry in enumerate(chosen)
        if entry.folder
    ]


def _passed_elements(folder: RunFolder) -> int:
    return sum(row["passed"] for row in folder.summary["claim"])


def _example(
    entry: Entry, folder: RunFolder, report: Report, figures: Path, shown: bool
) -> Example:
    slug = "".join(c if c.isalnum() else "-" for c in entry.design)
    history = timeline.timeline_of(folder)
    nodes = topology.changes(folder)
    ladder = folder.path / "ladder.svg"
    text = folder.path / "ladder.txt"
    return Example(
        entry=entry,
        timeline=plot(
            f"timeline-{slug}",
            f"Timeline, {entry.design}",
            _timeline_text(history),
            timeline.drawing(history),
            figures,
        ),
        topology=plot(
            f"topology-{slug}",
            f"Cluster before and after, {entry.design}",
            "Numbers in the boxes are connections served. Dashed: drained; dotted: "
            "failed; thick: new; faint: not there yet. The table below has the same data.",
            topology.drawing(nodes),
            figures,
        ),
        nodes=nodes,
        ladder=_data_url(ladder) if ladder.exists() else None,
        ladder_text=text.read_text() if text.exists() else None,
        claim=folder.summary["claim"],
        agreement=_agreement(folder),
        spec=(folder.path / "spec.yaml").read_text(),
        command=f"./resetbed run {_relative(folder.path, report)}/spec.yaml",
        shown=shown,
    )


class Beside(NamedTuple):
    """The model beside one run: its row in the table of all."""

    entry: Entry
    found: dict[str, Any]


def _agreements(report: Report) -> list[Beside]:
    """Of every run that the model was held against."""
    return [
        Beside(entry, found)
        for entry in report.entries
        if entry.folder and (found := _agreement(entry.folder))
    ]


def _agreement(folder: RunFolder) -> dict[str, Any] | None:
    """What ``./resetbed model --against`` has left in the folder."""
    path = folder.path / AGREEMENT
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _timeline_text(one: timeline.Timeline) -> str:
    events = ", ".join(
        f"{what} (tables applied after {milliseconds(applied - requested)})"
        for what, requested, applied, _ in one.events
    )
    return (
        f"{events or 'No event'}. {len(one.strays)} connections had stray segments, "
        f"{len(one.resets)} clients were reset, {len(one.freed)} owners freed their end; "
        f"at most {one.peak} were half open at a time, {one.remaining} at the end. "
        "In the row of the tables, the thin line ends when every switch has the new "
        "table, the thick line when no cached flow of the old one is left."
    )


def _data_url(path: Path) -> str:
    """The file as a data URL: as an image, its styles do not affect the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _relative(path: Path, report: Report) -> str:
    return str(path.relative_to(report.path)) if path != report.path else "."


def _facts(report: Report) -> list[tuple[str, str]]:
    """The provenance of the figures, over all runs."""
    folders = [entry.folder for entry in report.entries if entry.folder]
    origins = [folder.summary["provenance"] for folder in folders]

    def several(key: str) -> str:
        return ", ".join(sorted({str(origin[key]) for origin in origins}))

    tools = {f"{v}" for o in origins for v in o["tools"].values() if v}
    packages = {f"{k} {v}" for o in origins for k, v in o["packages"].items()}
    load = [origin["load_average"][0] for origin in origins]
    return [
        ("Code", several("code")),
        ("System", several("system")),
        ("Kernel", several("kernel")),
        ("Cores", several("cores")),
        ("Memory, MiB", several("memory_mib")),
        ("Datapath", several("datapath")),
        ("Guard", several("guard")),
        ("Tools", "; ".join(sorted(tools))),
        ("Packages", ", ".join(sorted(packages))),
        ("Load average at the start of runs", f"{min(load):.1f} to {max(load):.1f}"),
    ]


def _reproduce(report: Report) -> tuple[str, str]:
    """The command that repeats all runs, and the text of the file that it reads."""
    if report.suite is not None:
        text = (report.path / "suite.yaml").read_text()
        return f"./resetbed sweep suite.yaml --out {report.title}-again", text
    specs = [entry.folder.spec for entry in report.entries if entry.folder]
    text = yaml.safe_dump(specs[0].model_dump(mode="json"), sort_keys=False)
    return "./resetbed run spec.yaml", text
