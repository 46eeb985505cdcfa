"""The command ``bench``: which figures, which folder, and what is printed at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from experiments.bench.basis.size import FULL, QUICK
from experiments.bench.bench import run_bench
from experiments.bench.figures import FIGURES
from experiments.bench.table import print_result
from experiments.files.handover import chown_to_caller
from experiments.running.launch import empty_folder
from topologies.datapaths import KERNEL, USERSPACE, DatapathMissing, find_datapath

#: Every datapath that the machine has.
ALL = "all"


class BenchError(ValueError):
    """The options name a figure or a datapath that does not exist."""


def launch_bench(quick: bool, out: Path | None, only: str | None, datapath: str) -> int:
    """Runs it; 0 where every figure reaches what it must, 1 otherwise.

    ``datapath``: ``kernel``, ``userspace``, or ``all`` for each that there is. Raises
    :class:`BenchError`, or :class:`~topologies.datapaths.DatapathMissing`.
    """
    names, datapaths = _chosen(only), _datapaths(datapath)
    size = QUICK if quick else FULL
    label = f"bench-{size.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = empty_folder(out or Path("results") / label)
    click.echo(f"datapaths: {', '.join(datapaths)}", err=True)
    result = run_bench(size, folder, names, datapaths)
    chown_to_caller(folder)
    print_result(result)
    click.echo(f"results: {folder}")
    return 0 if result.reached else 1


def _datapaths(asked: str) -> Sequence[str]:
    """Those that are asked for; of ``all``, those that the machine has."""
    if asked != ALL:
        return [find_datapath(asked).name]
    found = []
    for name in (KERNEL, USERSPACE):
        with suppress(DatapathMissing):
            found.append(find_datapath(name).name)
    return found or [find_datapath().name]


def _chosen(only: str | None) -> Sequence[str]:
    names = only.split(",") if only else list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise BenchError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return [name for name in FIGURES if name in names]
