"""The harm over time: locks of nobody, and clients that wait for their own, by design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.harm.harm import Moment, moments
from experiments.report.canvas import Draw, grid
from experiments.report.data import Report
from experiments.report.theme import light, line_style
from experiments.results.run_folder import RunFolder
from nodes.clients.client_report import parse_report
from nodes.servers.lock_log import LOCK_LOG, read_lock_log


class Course(NamedTuple):
    """The harm of one run: its looks, and the instants of its events, in seconds since the
    first event was requested."""

    looks: Sequence[Moment]
    events: Sequence[float]


def courses(report: Report) -> Mapping[str, Course]:
    """One run of each design that has locks, if possible of the same event."""
    found = {}
    for entry in report.examples():
        if entry.folder and "own_lock" in entry.folder.summary.get("harm", {}):
            found[entry.design] = course_of(entry.folder)
    return found


def course_of(folder: RunFolder) -> Course:
    """The course of one run, up to the end of its observation."""
    hosts, summary = folder.path / "hosts", folder.summary
    events = [instant[0]["requested_s"] for instant in folder.instants()]
    zero = events[0] if events else summary["observation"]["steady_s"]
    reports = {
        f"h{number}": parse_report(hosts / f"h{number}.jsonl")
        for number in range(1, summary["cluster"]["clients"] + 1)
    }
    seen = moments(reports, read_lock_log(hosts / LOCK_LOG))
    return Course(
        [
            one._replace(t=one.t - zero)
            for one in seen
            if summary["observation"]["steady_s"]
            <= one.t
            <= summary["observation"]["end_s"]
        ],
        [t - zero for t in events],
    )


def drawing(by_design: Mapping[str, Course]) -> Draw:
    """Draws two counts over time, a line for each design, the events marked."""

    def draw(figure: Figure, narrow: bool) -> None:
        panels = grid(figure, 2, 1 if narrow else 2, 2.6, sharex=True, sharey=True)
        for panel, title in zip(
            panels,
            ("locks of nobody", "clients that wait for their own lock"),
            strict=True,
        ):
            panel.set_title(title)
            panel.set_xlabel("s since the first event")
            panel.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
            for course in by_design.values():
                _mark(panel, course.events)
        for index, (design, course) in enumerate(by_design.items()):
            style, times = line_style(index), [one.t for one in course.looks]
            for panel, counts in (
                (panels[0], [one.orphans for one in course.looks]),
                (panels[1], [one.waiting for one in course.looks]),
            ):
                panel.step(
                    times,
                    counts,
                    where="post",
                    color=style.colour,
                    linestyle=style.dashes,
                    label=design,
                )
        panels[0].set_ylim(bottom=0)
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=2 if narrow else 5,
        )

    return draw


def _mark(panel: Axes, events: Sequence[float]) -> None:
    for at in events:
        panel.axvline(at, color=light("faint"), linewidth=0.9, linestyle=(0, (3, 2)))
