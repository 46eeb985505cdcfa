"""The testbed from Python and in notebooks: make a run, read runs, draw their plots.

    from experiments.api import load, load_all, recorded, run

    one = recorded("drain-node")               # a real run that ships, no root needed
    one.connections()                          # a polars.DataFrame
    one.plot("timeline")                       # a matplotlib Figure
    many = load_all("results/designs")         # the folder of a sweep
    many.table()
    mine = run("drain-node", {"policy": "drop", "seed": 7})        # needs root

How to start Jupyter with it: ``docs/notebooks.md``. Times in columns that end in ``_s`` are
seconds since 1970 (CLOCK_REALTIME of the machine), those in ``_ms`` are milliseconds.
Importing this module costs nothing: each function imports what it needs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars
    from matplotlib.figure import Figure

    from experiments.record.run_record import RunRecord
    from experiments.report.data import Report
    from experiments.results.run_folder import RunFolder
    from experiments.spec.run_spec import RunSpec

__all__ = [
    "Drawing",
    "NoRunError",
    "Run",
    "Runs",
    "load",
    "load_all",
    "recorded",
    "recorded_names",
    "run",
    "scenario_names",
    "spec_of",
]

#: What a spec may be given as: a path, the name of a shipped scenario, or its keys.
Spec = str | Path | Mapping[str, Any]


class NoRunError(ValueError):
    """A folder without a run that can be read, or without that plot. The text says why."""


class Drawing:
    """A ladder diagram: a notebook shows it, ``print`` shows it as text."""

    def __init__(self, svg: str, text: str) -> None:
        """``svg`` and ``text`` are the same diagram."""
        self.svg = svg
        self.text = text

    def __str__(self) -> str:
        """The diagram for a terminal."""
        return self.text

    def _repr_svg_(self) -> str:
        return self.svg


class Run:
    """One run, from its folder. Nothing here writes to the folder."""

    def __init__(self, folder: RunFolder, keep: object = None) -> None:
        """Made by :func:`run`, :func:`load` and :func:`recorded`. ``keep``: lives as long."""
        self._folder = folder
        self._keep = keep

    def __repr__(self) -> str:
        """Which run it is, and what came of it."""
        spec = self.spec
        return (
            f"<Run of {spec.scenario}, {spec.policy}, seed {spec.seed}: {self.outcome}>"
        )

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def spec(self) -> RunSpec:
        """Its spec, whole."""
        return self._folder.spec

    @property
    def summary(self) -> Mapping[str, Any]:
        """``summary.json``: every figure, nested; ``docs/results.md`` explains the keys."""
        return self._folder.summary

    @property
    def outcome(self) -> str:
        """``as-expected``, ``unexpected``, or ``untrusted``: it cannot be relied on."""
        return str(self.summary["outcome"])

    @cached_property
    def record(self) -> RunRecord:
        """What was seen, before anything was judged: states, events, socket tables.

        Raises :class:`NoRunError` if the folder has none of this version.
        """
        from experiments.record.record_file import read_record

        try:
            return read_record(self.path)
        except (OSError, LookupError, ValueError) as error:
            raise NoRunError(f"{self.path}: no record: {error}") from error

    def figures(self) -> polars.DataFrame:
        """Every number of the summary: ``key``, e.g. ``connections.moved``, and ``value``."""
        from experiments.frames import run_frames

        return run_frames.figures(self.summary)

    def connections(self) -> polars.DataFrame:
        """A row for each connection: its owner before and after, when it was reset, and
        for how long (``half_open_ms``) its old owner kept it in vain."""
        from experiments.frames import run_frames

        return run_frames.connections(self._folder)

    def events(self) -> polars.DataFrame:
        """A row for each event, with its instants; ``after_s``: since the first one."""
        from experiments.frames import run_frames

        return run_frames.events(self._folder)

    def expectations(self) -> polars.DataFrame:
        """A row for each thing that the policy promises or the spec asks for."""
        from experiments.frames import run_frames

        return run_frames.expectations(self.summary)

    def claim(self) -> polars.DataFrame:
        """A row for each element of the claim, and the frames that prove it."""
        from experiments.frames import run_frames

        return run_frames.claim(self.summary)

    def segments(self) -> polars.DataFrame:
        """A row for each captured TCP segment; ``frame`` is its number in Wireshark."""
        from experiments.frames import run_frames

        return run_frames.segments(self.record)

    def sockets(self) -> polars.DataFrame:
        """A row for each change of state and each reset of a socket, as kernels said."""
        from experiments.frames import run_frames

        return run_frames.sockets(self.record)

    def ladder(self) -> Drawing:
        """The ladder diagram of one reset. Raises :class:`NoRunError` if none happened."""
        svg, text = self.path / "ladder.svg", self.path / "ladder.txt"
        if not (svg.exists() and text.exists()):
            raise NoRunError(
                f"{self.path}: no ladder diagram, as there is no reset to show"
            )
        return Drawing(svg.read_text(), text.read_text())

    def plot(self, name: str = "timeline") -> Figure:
        """A plot of the report: ``timeline``, ``topology``, ``half-open-lifetime``,
        ``reset-latency``, or, of a workload with locks, ``harm``.

        Raises :class:`NoRunError` for another name, and for one that this run has not.
        """
        from experiments.report import drawings
        from experiments.report.canvas import picture

        if name in drawings.OF_RUN:
            return picture(drawings.OF_RUN[name](self._folder))
        return _picture(name, load_all(self.path)._report, also=drawings.OF_RUN)


class Runs:
    """The runs of a sweep, or of a folder of runs; iterating gives each :class:`Run`.

    Those that failed or cannot be trusted are in :meth:`table` only.
    """

    def __init__(self, report: Report) -> None:
        """Made by :func:`load_all`."""
        self._report = report

    def __repr__(self) -> str:
        """How many, and of what."""
        entries = len(self._report.entries)
        return f"<Runs of {self._report.title}: {len(self)} of {entries} have figures>"

    def __len__(self) -> int:
        """How many have figures."""
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Run]:
        """Each run that has figures, in the order of the suite."""
        return (Run(one.folder) for one in self._report.entries if one.folder)

    def __getitem__(self, name: str) -> Run:
        """The run of that name. Raises :class:`KeyError` with the names that there are."""
        found = {one.name: one.folder for one in self._report.entries if one.folder}
        if name not in found:
            raise KeyError(
                f"no run {name!r} with figures; there are: {', '.join(found)}"
            )
        return Run(found[name])

    def table(self) -> polars.DataFrame:
        """A row for each run, also for failed ones: design, setting, outcome, figures."""
        from experiments.frames import report_frames

        return report_frames.runs(self._report)

    def titles(self) -> polars.DataFrame:
        """What each figure of :meth:`table` is, its unit, and which way is better."""
        from experiments.frames import report_frames

        return report_frames.titles()

    def connections(self) -> polars.DataFrame:
        """The connections of all runs, each with its run, design and setting."""
        from experiments.frames import report_frames

        return report_frames.connections(self._report)

    def plot(self, name: str = "comparison") -> Figure:
        """A plot of the report: ``comparison`` of designs, ``half-open-lifetime``,
        ``reset-latency``, ``harm``.

        Raises :class:`NoRunError` for another name, and for one that these runs have not.
        """
        return _picture(name, self._report)


def run(
    spec: Spec,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Makes a run and returns it, whatever its outcome. It takes some seconds, and root.

    ``spec``: a path, the name of a shipped scenario, or a mapping of keys. ``settings``:
    dotted keys that change it, e.g. ``{"cluster.nodes": 5}``. ``out``: a folder that is
    new or empty; by default one in ``results/`` of the current directory. ``say`` gets
    each line of progress. Without root, sudo(8) is used if it asks for no password.

    Raises :class:`~experiments.spec.spec_file.SpecError`,
    :class:`~experiments.running.command_run.NeedsRoot` and
    :class:`~experiments.running.command_run.RunFailed`, and :class:`ValueError` for a
    folder that is not empty.
    """
    import click

    from experiments.running.command_run import run_by_command
    from experiments.running.launch import make_folder

    checked = spec_of(spec, settings)
    try:
        folder = make_folder(checked, Path(out) if out else None).resolve()
    except click.UsageError as error:
        raise ValueError(error.message.removeprefix("--")) from error
    run_by_command(checked, folder, say)
    return load(folder)


def spec_of(spec: Spec, settings: Mapping[str, Any] | None = None) -> RunSpec:
    """The whole spec that :func:`run` would run. Arguments and errors are the same."""
    import yaml

    from experiments.spec import spec_file

    changes = [
        f"{key}={yaml.safe_dump(value)}" for key, value in (settings or {}).items()
    ]
    if not isinstance(spec, Mapping):
        return spec_file.load_run(spec_file.find_spec(str(spec)), changes)
    checked = spec_file.spec_of(spec, changes)
    try:
        checked.check_capacity()
    except ValueError as error:
        raise spec_file.SpecError(f"spec: {error}") from error
    return checked


def load(path: str | Path) -> Run:
    """The run in that folder. Raises :class:`NoRunError`."""
    from experiments.results.run_folder import RunFolder

    try:
        return Run(RunFolder.read(Path(path).resolve()))
    except (OSError, ValueError) as error:
        raise NoRunError(
            f"{path}: not the folder of a whole run ({error}); if it has a record.json, "
            f"./resetbed analyse {path} makes its figures"
        ) from error


def load_all(path: str | Path) -> Runs:
    """The runs of a sweep's folder, or of a folder of runs. Raises :class:`NoRunError`."""
    from experiments.report.data import NothingToReport, load_report

    try:
        return Runs(load_report(Path(path).resolve()))
    except (OSError, NothingToReport) as error:
        raise NoRunError(str(error)) from error


def recorded(name: str, out: str | Path | None = None) -> Run:
    """A recorded run that ships, judged anew: no root, no cluster, under a second.

    ``out``: a folder that is new or empty; by default one that goes with the run. Raises
    :class:`NoRunError` with the names that there are (:func:`recorded_names`).
    """
    from experiments.record.recorded_runs import unpack_recorded
    from experiments.results.judge import judge_folder

    keep = None if out else tempfile.TemporaryDirectory(prefix="resetbed-")
    folder = Path(keep.name if keep else str(out)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"out {folder}: is not empty; name another folder")
    try:
        unpack_recorded(name, folder)
    except LookupError as error:
        raise NoRunError(str(error.args[0])) from error
    judge_folder(folder)
    from experiments.results.run_folder import RunFolder

    return Run(RunFolder.read(folder), keep)


def recorded_names() -> list[str]:
    """The names for :func:`recorded`."""
    from experiments.record import recorded_runs

    return recorded_runs.recorded_names()


def scenario_names() -> list[str]:
    """The names of the shipped scenarios, for :func:`run`."""
    from experiments.spec import spec_file

    return spec_file.scenario_names()


def _picture(
    name: str, report: Report, also: Mapping[str, object] | None = None
) -> Figure:
    """The plot of that name. Raises :class:`NoRunError`."""
    from experiments.report import drawings
    from experiments.report.canvas import picture
    from experiments.report.data import NothingToReport

    if name not in drawings.OF_RUNS:
        known = ", ".join((*(also or {}), *drawings.OF_RUNS))
        raise NoRunError(f"no plot {name!r}; there are: {known}")
    try:
        return picture(drawings.OF_RUNS[name](report))
    except NothingToReport as error:
        raise NoRunError(str(error)) from error
