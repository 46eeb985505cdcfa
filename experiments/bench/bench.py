"""The benchmark from beginning to end: settings one after the other, then the outcome."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.bench.curves import draw_curves
from experiments.bench.figure import Figure, Found, Line, Results, Setting
from experiments.bench.figures import FIGURES
from experiments.bench.size import Size
from experiments.bench.verdict import doubts
from experiments.machine.provenance import provenance
from topologies import sandbox

SCHEMA = 1


@dataclass(frozen=True)
class Outcome:
    """Everything that the benchmark found."""

    lines: Mapping[str, Sequence[Line]]
    doubts: Mapping[str, Sequence[str]]
    errors: Sequence[str]
    document: Mapping[str, Any]

    @property
    def reached(self) -> bool:
        """Whether every bound is kept, and nothing failed."""
        every = [line for lines in self.lines.values() for line in lines]
        return not self.errors and all(line.met is not False for line in every)


def run_bench(size: Size, folder: Path, names: Sequence[str]) -> Outcome:
    """Measures those figures, writes ``bench.json`` and the curves into ``folder``."""
    figures = [FIGURES[name] for name in names]
    begun, origin = time.time(), provenance()
    raw: dict[Setting, list[dict[str, Any]]] = {}
    for repetition in range(size.repetitions):
        for setting, wanted in _settings(figures, size).items():
            where = folder / "raw" / f"{setting.name.replace(' ', '-')}-{repetition}"
            where.mkdir(parents=True)
            raw.setdefault(setting, []).append(_measure(setting, size, wanted, where))
    outcome = _outcome(figures, size, raw)
    document = {
        "schema": SCHEMA,
        "size": size.to_json(),
        "seconds": time.time() - begun,
        "provenance": origin,
        "load_average_at_end": os.getloadavg(),
        **outcome.document,
    }
    (folder / "bench.json").write_text(json.dumps(document, indent=1))
    draw_curves(size, _results_of(figures, raw), folder)
    return Outcome(outcome.lines, outcome.doubts, outcome.errors, document)


def _settings(figures: Sequence[Figure], size: Size) -> dict[Setting, list[str]]:
    """Each setting, with the names of the figures that are measured there."""
    wanted: dict[Setting, list[str]] = {}
    for figure in figures:
        for setting in figure.settings(size):
            wanted.setdefault(setting, []).append(figure.name)
    return wanted


def _measure(
    setting: Setting, size: Size, figures: Sequence[str], folder: Path
) -> dict[str, Any]:
    """One network in a sandbox of its own; what was found there."""
    job = {
        "setting": asdict(setting),
        "size": size.to_json(),
        "figures": list(figures),
        "folder": str(folder),
        "began_s": time.monotonic(),
    }
    argv = [sys.executable, "-m", "experiments.bench.inside", json.dumps(job)]
    sandbox.enter(argv, f"bench-{os.getpid()}")
    file = folder / "found.json"
    if not file.exists():
        error = {"error": f"{setting.name} did not come up; see {folder}"}
        return {"up": {}, "figures": dict.fromkeys(figures, error)}
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _results_of(
    figures: Sequence[Figure], raw: Mapping[Setting, Sequence[Mapping[str, Any]]]
) -> dict[str, Results]:
    """Figure -> setting -> what its successful repetitions found."""
    results: dict[str, Results] = {}
    for figure in figures:
        by_setting: dict[Setting, Sequence[Found]] = {}
        for setting, repetitions in raw.items():
            found = [r["figures"].get(figure.name, {}) for r in repetitions]
            good = [one["found"] for one in found if "found" in one]
            if good:
                by_setting[setting] = good
        results[figure.name] = by_setting
    return results


def _outcome(
    figures: Sequence[Figure],
    size: Size,
    raw: Mapping[Setting, Sequence[Mapping[str, Any]]],
) -> Outcome:
    results = _results_of(figures, raw)
    errors = list(_errors(raw))
    lines: dict[str, Sequence[Line]] = {}
    for figure in figures:
        if all(setting in results[figure.name] for setting in figure.settings(size)):
            lines[figure.name] = figure.lines(size, results[figure.name])
    doubtful = {figure.name: doubts(figure.name, raw) for figure in figures}
    document = {
        "lines": {
            name: [line.to_json() for line in few] for name, few in lines.items()
        },
        "unreliable": {name: why for name, why in doubtful.items() if why},
        "errors": errors,
        "raw": {setting.name: repetitions for setting, repetitions in raw.items()},
    }
    return Outcome(lines, doubtful, errors, document)


def _errors(raw: Mapping[Setting, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for setting, repetitions in raw.items():
        for repetition in repetitions:
            for name, one in repetition["figures"].items():
                if "error" in one:
                    yield f"{setting.name}, {name}: {one['error'].strip()}"
