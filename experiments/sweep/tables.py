"""The tables of a sweep, as Parquet and as CSV, from the folders of its runs.

================ =====================================================================
``runs``         one row for each run, including failed ones: levels, seed, outcome,
                 reason, and every figure of its summary under its dotted key, unless it
                 failed or cannot be trusted
``connections``  one row for each connection of every run: its owner and its outcome
``summary``      one row for each configuration and figure: N, median, bootstrap interval
================ =====================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

from experiments.results.run_folder import RunFolder
from experiments.sweep.bootstrap import CONFIDENCE, median
from experiments.sweep.figures import FIGURES, is_lower_bound
from experiments.sweep.state import UNTRUSTED, Record
from experiments.sweep.suite import PlannedRun

#: Keys of a summary that are not figures, or have their own columns.
_NO_FIGURES = frozenset(
    (
        *("provenance", "claim", "wire_order", "events", "observation"),
        *("expectations", "not_judged", "outcome", "schema", "seed"),
    )
)

#: What a run's provenance says of the machine that made it.
_MACHINE_KEYS = ("kernel", "datapath", "system", "cores", "memory_mib")


@dataclass(frozen=True)
class CompletedRun:
    """A run of a suite that has ended.

    ``folder``: None if the run has failed or cannot be trusted. Such a run is counted, but
    has no figures.
    """

    run: PlannedRun
    record: Record
    folder: RunFolder | None


def write_tables(out: Path, made: Sequence[CompletedRun]) -> None:
    """Writes the three tables into ``out``. Replaces earlier ones."""
    tables = {
        "runs": [_run_row(one) for one in made],
        "connections": [row for one in made for row in _connection_rows(one)],
        "summary": summary_rows(made),
    }
    for name, rows in tables.items():
        frame = polars.DataFrame(rows, infer_schema_length=None, strict=False)
        for suffix, write in (
            ("parquet", frame.write_parquet),
            ("csv", frame.write_csv),
        ):
            scratch = out / f".{name}.{suffix}"
            write(scratch)
            scratch.replace(out / f"{name}.{suffix}")


def summary_rows(made: Sequence[CompletedRun]) -> list[dict[str, Any]]:
    """One row for each configuration and figure, in the order of first appearance."""
    groups: dict[tuple[tuple[str, str], ...], list[CompletedRun]] = {}
    for one in made:
        groups.setdefault(tuple(one.run.levels.items()), []).append(one)
    return [
        {**dict(levels), **row}
        for levels, members in groups.items()
        for row in _figures(members)
    ]


def _figures(members: Sequence[CompletedRun]) -> Iterator[dict[str, Any]]:
    folders = [one.folder for one in members if one.folder]
    untrusted = sum(one.record.outcome == UNTRUSTED for one in members)
    for figure in FIGURES:
        values = [figure.of(folder.summary) for folder in folders]
        result = median([value for value in values if value is not None])
        yield {
            "figure": figure.name,
            "title": figure.title,
            "unit": figure.unit,
            "better": figure.better,
            "runs": len(members),
            "failed": len(members) - len(folders) - untrusted,
            "untrusted": untrusted,
            "n": result.n,
            "median": result.value,
            "ci_low": result.low,
            "ci_high": result.high,
            "confidence": CONFIDENCE,
            "min": result.minimum,
            "max": result.maximum,
            "lower_bound": any(is_lower_bound(f.summary, figure) for f in folders),
        }


def _run_row(one: CompletedRun) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": one.run.name,
        **_levels(one.run),
        "repetition": one.run.repetition,
        "seed": one.run.spec.seed,
        "outcome": one.record.outcome,
        "reason": one.record.reason,
        "exit_status": one.record.exit_status,
        "started_s": one.record.started_s,
        "took_s": one.record.took_s,
        "jobs": one.record.jobs,
        "machine": one.record.machine,
    }
    if one.folder is None:
        return row
    summary = one.folder.summary
    provenance = summary["provenance"]
    figures = {k: v for k, v in summary.items() if k not in _NO_FIGURES}
    return {
        **row,
        **{k: v for k, v in _flat(figures) if k not in row},
        "claim_passed": sum(element["passed"] for element in summary["claim"]),
        "moved_digest": _digest(summary["moved_connections"]),
        "code": provenance["code"],
        **{key: provenance.get(key) for key in _MACHINE_KEYS},
        "load_average": provenance["load_average"][0],
    }


def _connection_rows(one: CompletedRun) -> Iterator[dict[str, Any]]:
    for fields, half_open in one.folder.rows if one.folder else ():
        yield {
            "run": one.run.name,
            **_levels(one.run),
            "repetition": one.run.repetition,
            **dict(_flat(fields)),
            "half_open_ms": half_open and half_open.lifetime_ms,
            "half_open_censored": half_open and half_open.censored,
        }


def _levels(run: PlannedRun) -> dict[str, str]:
    """Policy, balancer and scenario always; the other levels if they vary."""
    spec = run.spec
    return {
        "policy": spec.policy,
        "balancer": spec.balancer,
        "scenario": spec.scenario,
        **run.levels,
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value of every plain value; lists are left out."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, tuple)):
            yield prefix + key, value


def _digest(moved: Sequence[str]) -> str:
    """A digest that is equal if the same connections moved."""
    return hashlib.sha256("\n".join(moved).encode()).hexdigest()[:16]
