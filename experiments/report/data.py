"""The data of a report: runs by design and setting, read from a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from controller.balancers import Balancer
from experiments.results.run_folder import RunFolder
from experiments.spec.spec_file import SpecError
from experiments.sweep.runner import Layout, reason_of
from experiments.sweep.state import FAILED, UNTRUSTED, read_lines
from experiments.sweep.suite import DESIGN_KEYS, PlannedRun, Suite
from experiments.sweep.suite_file import expand, load_suite
from experiments.sweep.sweep import completed_runs
from experiments.sweep.tables import CompletedRun


class NothingToReport(ValueError):
    """A folder without a run that has figures. The text gives the reason."""


@dataclass(frozen=True)
class Entry:
    """One run: its ``design`` (policy, ...) and its ``setting`` (event, size, ...).

    ``folder``: None if it failed or its measurement cannot be trusted.
    """

    name: str
    design: str
    setting: str
    repetition: int
    outcome: str
    reason: str | None
    took_s: float | None
    seed: int
    folder: RunFolder | None


@dataclass(frozen=True)
class Report:
    """All data of the page. ``suite``: None for runs without a suite."""

    title: str
    description: str
    path: Path
    entries: Sequence[Entry]
    suite: Suite | None
    planned: int

    @cached_property
    def designs(self) -> tuple[str, ...]:
        """Every design, in the suite's order."""
        return tuple(dict.fromkeys(entry.design for entry in self.entries))

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Every setting, in the suite's order."""
        return tuple(dict.fromkeys(entry.setting for entry in self.entries))

    @cached_property
    def common(self) -> tuple[str, ...]:
        """The settings in which every design has figures, so that designs can be compared."""
        return tuple(
            setting
            for setting in self.settings
            if all(self.of(design, (setting,)) for design in self.designs)
        )

    def of(self, design: str, settings: Sequence[str] | None = None) -> list[RunFolder]:
        """The runs of a design that have figures, in these settings or in all."""
        selected = self.settings if settings is None else settings
        return [
            entry.folder
            for entry in self.entries
            if entry.folder and entry.design == design and entry.setting in selected
        ]

    def paired(self, design: str, settings: Sequence[str]) -> list[RunFolder]:
        """The runs of a design, without repetitions in which another design has no figures.

        A design without figures in a whole setting does not exclude the others.
        """
        return [
            entry.folder
            for entry in self.entries
            if entry.folder
            and entry.design == design
            and entry.setting in settings
            and self._complete(entry.setting, entry.repetition)
        ]

    def _complete(self, setting: str, repetition: int) -> bool:
        in_setting = {
            e.design for e in self.entries if e.folder and e.setting == setting
        }
        in_repetition = {
            e.design
            for e in self.entries
            if e.folder and (e.setting, e.repetition) == (setting, repetition)
        }
        return in_setting == in_repetition

    @property
    def several_balancers(self) -> bool:
        """Whether designs differ in the balancer, which determines what moves.

        A balancer with other weights is another balancer.
        """
        balancers = {e.folder.states[0].balancer for e in self.entries if e.folder}
        return len(balancers) > 1

    def examples(self) -> Iterator[Entry]:
        """One run of each design, if possible of the same setting and repetition."""
        complete = [e for e in self.entries if e.folder]
        shared = Counter((e.setting, e.repetition) for e in complete)
        for design in self.designs:
            runs = [e for e in complete if e.design == design]
            yield from sorted(runs, key=lambda e: -shared[e.setting, e.repetition])[:1]

    def same_moved(self) -> tuple[int, int]:
        """Groups of runs whose first event moved the same connections: (same, all groups).

        A group has the designs of one setting, repetition and balancer. Later events are
        not compared: the connections that clients open by then depend on the design.
        """
        groups: dict[tuple[str, int, Balancer], list[frozenset[str]]] = {}
        for e in self.entries:
            if e.folder:
                key = (e.setting, e.repetition, e.folder.states[0].balancer)
                moved = e.folder.moved_first()
                groups.setdefault(key, []).append(moved)
        several = [group for group in groups.values() if len(group) > 1]
        return sum(len(set(group)) == 1 for group in several), len(several)


def load_report(path: Path) -> Report:
    """The report of a sweep's folder, of a run's, or of a folder of runs (e.g. a demo's).

    Raises :class:`NothingToReport`.
    """
    layout = Layout(path)
    if layout.state.exists():
        report = _of_sweep(layout)
    elif (path / "summary.json").exists():
        report = _of_runs(path, [path])
    else:
        report = _of_runs(path, [f.parent for f in path.glob("*/summary.json")])
    if not any(entry.folder for entry in report.entries):
        reasons = {e.reason for e in report.entries if e.outcome == UNTRUSTED}
        why = f"; not to be trusted: {', '.join(map(str, reasons))}" if reasons else ""
        raise NothingToReport(
            f"{path}: neither the folder of a run nor of a sweep that has a run with "
            f"figures{why}"
        )
    return report


def _of_sweep(layout: Layout) -> Report:
    try:
        starts = (x for x in read_lines(layout.state) if x["what"] == "start")
        suite = load_suite(layout.suite, next(starts)["suite"])
        runs = expand(suite, layout.suite)
    except SpecError as error:
        raise NothingToReport(str(error)) from error
    runs_done = completed_runs(runs, layout)
    return Report(
        title=suite.name,
        description=suite.description,
        path=layout.folder,
        entries=[_entry(one, suite) for one in runs_done],
        suite=suite,
        planned=len(runs),
    )


def _entry(one: CompletedRun, suite: Suite) -> Entry:
    design, setting = labels(one.run, suite)
    return Entry(
        name=one.run.name,
        design=design,
        setting=setting,
        repetition=one.run.repetition,
        outcome=one.record.outcome,
        reason=one.record.reason,
        took_s=one.record.took_s,
        seed=one.run.spec.seed,
        folder=one.folder,
    )


def labels(run: PlannedRun, suite: Suite) -> tuple[str, str]:
    """The names of design and setting, from the factors that vary.

    A level that sets nothing (servers as shipped) adds nothing to the name of a design.
    """
    design = [
        run.levels[key]
        for key in suite.varied()
        if key in DESIGN_KEYS and suite.factors[key][run.levels[key]] != {}
    ]
    setting = [
        run.levels[key] if key == "scenario" else f"{key} {run.levels[key]}"
        for key in suite.varied()
        if key not in DESIGN_KEYS
    ]
    return (
        " · ".join(design) or run.spec.policy,
        " · ".join(setting) or run.spec.scenario,
    )


def _of_runs(path: Path, folders: Sequence[Path]) -> Report:
    read = sorted(
        map(_read, folders),
        key=lambda run: (
            run.summary["events"][0]["requested_s"] if run.summary["events"] else 0.0
        ),
    )
    entries = [_entry_of_single_run(folder) for folder in read]
    names = dict.fromkeys(entry.setting for entry in entries)
    description = read[0].spec.description if read else ""
    title = ", ".join(names) or path.name
    return Report(title, description, path, entries, None, len(entries))


def _read(path: Path) -> RunFolder:
    """The run in that folder. Raises :class:`NothingToReport`."""
    try:
        return RunFolder.read(path)
    except (OSError, ValueError) as error:
        raise NothingToReport(f"{path}: cannot be read: {error}") from error


def _entry_of_single_run(folder: RunFolder) -> Entry:
    outcome = folder.summary["outcome"]
    return Entry(
        name=folder.path.name,
        design=folder.spec.policy,
        setting=folder.spec.scenario,
        repetition=1,
        outcome=outcome,
        reason=reason_of(folder.summary),
        took_s=None,
        seed=folder.spec.seed,
        folder=None if outcome == UNTRUSTED else folder,
    )


__all__ = ["FAILED", "Entry", "NothingToReport", "Report", "load_report"]
