"""The command ``bench``: which figures, which folder, and what is said in the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from experiments.bench.bench import run_bench
from experiments.bench.figures import FIGURES
from experiments.bench.size import FULL, QUICK
from experiments.bench.table import print_outcome
from experiments.cluster.launch import empty_folder
from experiments.handover import give_to_caller


class BenchError(ValueError):
    """The command was asked for what there is not."""


def launch_bench(quick: bool, out: Path | None, only: str | None) -> int:
    """Runs it; 0 where every figure reaches what it must, 1 otherwise."""
    names = _chosen(only)
    size = QUICK if quick else FULL
    label = f"bench-{size.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = empty_folder(out or Path("results") / label)
    outcome = run_bench(size, folder, names)
    give_to_caller(folder)
    print_outcome(outcome)
    click.echo(f"results: {folder}")
    return 0 if outcome.reached else 1


def _chosen(only: str | None) -> Sequence[str]:
    names = only.split(",") if only else list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise BenchError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return [name for name in FIGURES if name in names]
