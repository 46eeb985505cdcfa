"""The tables of a sweep, each as Parquet and as CSV, made from what its runs left.

================ =====================================================================
``runs``         one row a run, failed ones too: levels, seed, outcome, reason, and every
                 figure of its summary under its dotted key, unless it failed or cannot
                 be trusted
``connections``  one row a connection of every run: who owned it, what became of it when
``summary``      one row a configuration and figure: N, median, bootstrap interval
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

#: Parts of a summary that are no figures, or stand in columns of their own.
_NO_FIGURES = frozenset(
    (
        *("provenance", "claim", "wire_order", "events", "observation"),
        *("expectations", "not_judged", "outcome", "schema", "seed"),
    )
)


@dataclass(frozen=True)
class CompletedRun:
    """A run of a suite that has ended; ``folder`` is None where it has failed, or its
    measurement cannot be trusted: then it is counted and its figures are left out."""

    run: PlannedRun
    record: Record
    folder: RunFolder | None


def write_tables(out: Path, made: Sequence[CompletedRun]) -> None:
    """Writes the three tables into ``out``, in place of what was there."""
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
        found = median([value for value in values if value is not None])
        yield {
            "figure": figure.name,
            "title": figure.title,
            "unit": figure.unit,
            "better": figure.better,
            "runs": len(members),
            "failed": len(members) - len(folders) - untrusted,
            "untrusted": untrusted,
            "n": found.n,
            "median": found.value,
            "ci_low": found.low,
            "ci_high": found.high,
            "confidence": CONFIDENCE,
            "min": found.minimum,
            "max": found.maximum,
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
    }
    if one.folder is None:
        return row
    summary = one.folder.summary
    origin = summary["provenance"]
    figures = {k: v for k, v in summary.items() if k not in _NO_FIGURES}
    return {
        **row,
        **{k: v for k, v in _flat(figures) if k not in row},
        "claim_passed": sum(each["passed"] for each in summary["claim"]),
        "moved_digest": _digest(summary["moved_connections"]),
        "code": origin["code"],
        "kernel": origin["kernel"],
        "datapath": origin["datapath"],
        "load_average": origin["load_average"][0],
    }


def _connection_rows(one: CompletedRun) -> Iterator[dict[str, Any]]:
    for said, half_open in one.folder.rows if one.folder else ():
        yield {
            "run": one.run.name,
            **_levels(one.run),
            "repetition": one.run.repetition,
            **dict(_flat(said)),
            "half_open_ms": half_open and half_open.lifetime_ms,
            "half_open_censored": half_open and half_open.censored,
        }


def _levels(run: PlannedRun) -> dict[str, str]:
    """Policy, balancer and scenario always; the others where they vary."""
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
    """Equal where the same connections moved."""
    return hashlib.sha256("\n".join(moved).encode()).hexdigest()[:16]
