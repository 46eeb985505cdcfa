"""Runs the benchmark: measures one setting after the other, then evaluates."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from experiments.bench.basis.figure import Figure, Found, Line, Results, Setting
from experiments.bench.basis.not_computable import NotComputableError
from experiments.bench.basis.size import Size
from experiments.bench.curves import draw_curves
from experiments.bench.figures import FIGURES
from experiments.bench.reliability import unreliable_reasons
from experiments.machine.provenance import provenance
from topologies import sandbox

SCHEMA = 1


@dataclass(frozen=True)
class BenchResult:
    """Results of the benchmark."""

    lines: Mapping[str, Sequence[Line]]
    doubts: Mapping[str, Sequence[str]]
    errors: Sequence[str]
    document: Mapping[str, Any]

    @property
    def reached(self) -> bool:
        """Whether every bound holds, and nothing failed."""
        every = [line for lines in self.lines.values() for line in lines]
        return not self.errors and all(line.met is not False for line in every)


def run_bench(
    size: Size, folder: Path, names: Sequence[str], datapaths: Sequence[str]
) -> BenchResult:
    """Measures those figures, writes ``bench.json`` and the curves into ``folder``.

    ``datapaths``: each of them is measured, ours and the references on the same one.
    """
    figures = [FIGURES[name] for name in names]
    sizes = [size.on(datapath) for datapath in datapaths]
    begun, origin = time.time(), provenance()
    raw: dict[Setting, list[dict[str, Any]]] = {}
    for repetition, one in product(range(size.repetitions), sizes):
        for setting, wanted in _settings(figures, one).items():
            where = folder / "raw" / f"{setting.name.replace(' ', '-')}-{repetition}"
            where.mkdir(parents=True)
            raw.setdefault(setting, []).append(_measure(setting, one, wanted, where))
    seconds, load = time.time() - begun, os.getloadavg()
    errors = list(_errors(raw))
    for one in sizes:
        _draw(one, _results_of(figures, raw), folder, errors)
    result = _evaluate(figures, sizes, raw, errors)
    document = {
        "schema": SCHEMA,
        "size": size.to_json(),
        "datapaths": list(datapaths),
        "seconds": seconds,
        "provenance": origin,
        "load_average_at_end": load,
        **result.document,
    }
    (folder / "bench.json").write_text(json.dumps(document, indent=1))
    return BenchResult(result.lines, result.doubts, result.errors, document)


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
    """Measure one network in its own sandbox. Returns its results."""
    job = {
        "setting": asdict(setting),
        "size": size.to_json(),
        "figures": list(figures),
        "folder": str(folder),
        "began_s": time.monotonic(),
    }
    argv = [
        sys.executable,
        "-m",
        "experiments.bench.measure_in_sandbox",
        json.dumps(job),
    ]
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
    """Figure -> setting -> results of its successful repetitions."""
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


def _evaluate(
    figures: Sequence[Figure],
    sizes: Sequence[Size],
    raw: Mapping[Setting, Sequence[Mapping[str, Any]]],
    errors: list[str],
) -> BenchResult:
    """All lines. ``errors`` gets the errors of figures that have none."""
    results = _results_of(figures, raw)
    lines: dict[str, Sequence[Line]] = {
        figure.name: [
            replace(line, datapath=size.datapath)
            for size in sizes
            for line in _lines(figure, size, results[figure.name], errors)
        ]
        for figure in figures
    }
    doubtful = {figure.name: unreliable_reasons(figure.name, raw) for figure in figures}
    document = {
        "lines": {
            name: [line.to_json() for line in few] for name, few in lines.items()
        },
        "unreliable": {name: why for name, why in doubtful.items() if why},
        "errors": errors,
        "raw": {setting.name: repetitions for setting, repetitions in raw.items()},
    }
    return BenchResult(lines, doubtful, errors, document)


def _lines(
    figure: Figure, size: Size, results: Results, errors: list[str]
) -> Sequence[Line]:
    """The figure's lines for that size; none if one of its settings was not measured.

    None either if no value follows from the results. Then ``errors`` gets the reason; for
    an error of the program, its traceback. The other figures keep their lines.
    """
    if not all(setting in results for setting in figure.settings(size)):
        return ()
    try:
        return figure.lines(size, results)
    except NotComputableError as error:
        errors.append(f"{figure.name}, {size.datapath}: no line follows: {error}")
    except Exception:
        why = traceback.format_exc().strip()
        errors.append(f"{figure.name}, {size.datapath}: {why}")
    return ()


def _draw(
    size: Size, results: Mapping[str, Results], folder: Path, errors: list[str]
) -> None:
    """Draw the curves. An error of the program goes to ``errors``, as for lines."""
    try:
        draw_curves(size, results, folder)
    except Exception:
        errors.append(f"curves, {size.datapath}: {traceback.format_exc().strip()}")


def _errors(raw: Mapping[Setting, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for setting, repetitions in raw.items():
        for repetition in repetitions:
            for name, one in repetition["figures"].items():
                if "error" in one:
                    yield f"{setting.name}, {name}: {one['error'].strip()}"
