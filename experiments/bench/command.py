"""The command ``bench``: arguments, folder, output."""

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

#: Means all datapaths that the machine has.
ALL = "all"


class BenchError(ValueError):
    """Invalid arguments of the command."""


def launch_bench(quick: bool, out: Path | None, only: str | None, datapath: str) -> int:
    """Run the benchmark. Returns 0 if every figure is within its bound, else 1.

    ``datapath``: ``kernel``, ``userspace``, or ``all`` that the machine has. Raises
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


def _datapaths(requested: str) -> Sequence[str]:
    """The requested datapaths; for ``all``, those that the machine has."""
    if requested != ALL:
        return [find_datapath(requested).name]
    found = []
    for name in (KERNEL, USERSPACE):
        with suppress(DatapathMissing):
            found.append(find_datapath(name).name)
    return found or [find_datapath().name]


def _chosen(only: str | None) -> Sequence[str]:
    names = only.split(",") if only else list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise BenchError(f"no figure {name!r}; choose from {', '.join(FIGURES)}")
    return [name for name in FIGURES if name in names]
