"""Many runs as data frames: those of a sweep, or of a folder of runs."""

from __future__ import annotations

from typing import Any

import polars

from experiments.frames.run_frames import connections as connections_of
from experiments.report.data import Entry, Report
from experiments.sweep.figures import FIGURES


def runs(report: Report) -> polars.DataFrame:
    """A row for each run, also for those that failed: names, outcome, and every figure by
    which designs are compared, under its name (null where there is none)."""
    return polars.DataFrame(
        [
            {**_names(entry), **_outcome(entry), **_figures(entry)}
            for entry in report.entries
        ],
        infer_schema_length=None,
    )


def titles() -> polars.DataFrame:
    """What the figures' columns of :func:`runs` mean, their unit, and which way is better."""
    return polars.DataFrame(
        [
            {
                "figure": one.name,
                "title": one.title,
                "unit": one.unit,
                "better": one.better,
            }
            for one in FIGURES
        ]
    )


def connections(report: Report) -> polars.DataFrame:
    """The connections of every run that has figures, with the names of their run."""
    frames = [
        connections_of(entry.folder).select(
            *(polars.lit(value).alias(key) for key, value in _names(entry).items()),
            polars.all(),
        )
        for entry in report.entries
        if entry.folder
    ]
    return polars.concat(frames, how="diagonal_relaxed")


def _names(entry: Entry) -> dict[str, Any]:
    return {
        "run": entry.name,
        "design": entry.design,
        "setting": entry.setting,
        "repetition": entry.repetition,
        "seed": entry.seed,
    }


def _outcome(entry: Entry) -> dict[str, Any]:
    return {"outcome": entry.outcome, "reason": entry.reason}


def _figures(entry: Entry) -> dict[str, float | None]:
    summary = entry.folder.summary if entry.folder else None
    return {one.name: one.of(summary) if summary else None for one in FIGURES}
