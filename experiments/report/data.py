"""What a report is about: runs by design and circumstance, read from a folder."""

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
    """A folder that holds no run that came to figures; says what was looked for."""


@dataclass(frozen=True)
class Entry:
    """One run: its ``design`` (policy, ...) and its ``setting`` (event, size, ...).

    ``folder``: None where it failed, or its measurement cannot be trusted.
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
    """Everything that the page shows. ``suite`` is None for runs without one."""

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
        """The settings in which every design came to figures: there they compare."""
        return tuple(
            setting
            for setting in self.settings
            if all(self.of(design, (setting,)) for design in self.designs)
        )

    def of(self, design: str, settings: Sequence[str] | None = None) -> list[RunFolder]:
        """The runs of a design that came to figures, in these settings or in all."""
        wanted = self.settings if settings is None else settings
        return [
            entry.folder
            for entry in self.entries
            if entry.folder and entry.design == design and entry.setting in wanted
        ]

    def paired(self, design: str, settings: Sequence[str]) -> list[RunFolder]:
        """Those of them whose setting and repetition every design came through.

        A design that never came to figures in a setting takes nothing from the others.
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
        came = {e.design for e in self.entries if e.folder and e.setting == setting}
        here = {
            e.design
            for e in self.entries
            if e.folder and (e.setting, e.repetition) == (setting, repetition)
        }
        return came == here

    @property
    def several_balancers(self) -> bool:
        """Whether the balancer, which decides what moves, is among what is compared.

        With other weights it is another one.
        """
        balancers = {e.folder.states[0].balancer for e in self.entries if e.folder}
        return len(balancers) > 1

    def examples(self) -> Iterator[Entry]:
        """One run of each design, of the same setting and repetition where there is one."""
        came = [e for e in self.entries if e.folder]
        shared = Counter((e.setting, e.repetition) for e in came)
        for design in self.designs:
            mine = [e for e in came if e.design == design]
            yield from sorted(mine, key=lambda e: -shared[e.setting, e.repetition])[:1]

    def same_moved(self) -> tuple[int, int]:
        """In how many groups the first event moved the same connections: (same, groups).

        A group are the designs of one setting, repetition and balancer. Later events
        meet what the clients opened since, and that depends on the design.
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
    """The report of a sweep's folder, a run's, or one whose folders are runs' (a demo's).

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
        doubts = {e.reason for e in report.entries if e.outcome == UNTRUSTED}
        why = f"; not to be trusted: {', '.join(map(str, doubts))}" if doubts else ""
        raise NothingToReport(
            f"{path}: neither a run's folder nor a sweep's with a run that came to "
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
    made = completed_runs(runs, layout)
    return Report(
        title=suite.name,
        description=suite.description,
        path=layout.folder,
        entries=[_entry(one, suite) for one in made],
        suite=suite,
        planned=len(runs),
    )


def _entry(one: CompletedRun, suite: Suite) -> Entry:
    design, setting = _labels(one.run, suite)
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


def _labels(run: PlannedRun, suite: Suite) -> tuple[str, str]:
    """Names of design and setting: of the factors that vary."""
    design = [run.levels[key] for key in suite.varied() if key in DESIGN_KEYS]
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
        key=lambda one: (
            one.summary["events"][0]["requested_s"] if one.summary["events"] else 0.0
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
