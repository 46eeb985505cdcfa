"""The plots of the report by their names, for whoever wants one without the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from experiments.report import distributions, harm_plot, overview, timeline, topology
from experiments.report.canvas import Draw
from experiments.report.data import NothingToReport, Report
from experiments.results.run_folder import RunFolder

_AXIS = "time since the first stray segment"
_KEPT = "still half open at the end"


def _comparison(report: Report) -> Draw:
    if len(report.designs) < 2:
        raise NothingToReport(
            "comparison: these runs have one design; it takes at least two policies, "
            "balancers or settings of servers"
        )
    return overview.drawing(report, report.common or report.settings)


def _harm(report: Report) -> Draw:
    if not (courses := harm_plot.courses(report)):
        raise NothingToReport(
            "harm: no run has locks; it takes a workload with locks, e.g. postgres"
        )
    return harm_plot.drawing(courses)


def _lifetimes(report: Report) -> Draw:
    samples = distributions.samples(report, distributions.lifetimes)
    return distributions.drawing(report, samples, _AXIS, _KEPT)


def _latencies(report: Report) -> Draw:
    samples = distributions.samples(report, distributions.latencies)
    return distributions.drawing(report, samples, _AXIS, _KEPT)


#: Of one run: events, strays, resets and owners over time; the cluster before and after.
OF_RUN: Mapping[str, Callable[[RunFolder], Draw]] = {
    "timeline": lambda run: timeline.drawing(timeline.timeline_of(run)),
    "topology": lambda run: topology.drawing(topology.changes(run)),
}
#: Of many runs, and of one as well.
OF_RUNS: Mapping[str, Callable[[Report], Draw]] = {
    "half-open-lifetime": _lifetimes,
    "reset-latency": _latencies,
    "comparison": _comparison,
    "harm": _harm,
}
