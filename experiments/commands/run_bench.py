"""``./resetbed bench``: this testbed beside its references."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from experiments.commands.cli_options import BadInput, handles_errors


@click.command("bench")
@click.option("--quick", is_flag=True, help="Smaller sizes, one repetition.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--only",
    metavar="FIGURE,...",
    help="Only these figures, e.g. bring-up,connections.",
)
@click.option(
    "--datapath",
    type=click.Choice(["all", "kernel", "userspace"]),
    default="all",
    show_default=True,
    help="Datapath of testbed and references; all: each one available.",
)
@handles_errors
def command(quick: bool, out: Path | None, only: str | None, datapath: str) -> None:
    """Measure this testbed and its references in one run, on this machine.

    Prints ratios first; writes bench.json and the curves. Exit status 1: a figure does
    not reach its target.

    \b
      ./resetbed bench --quick
      ./resetbed bench --only bring-up,connections --datapath userspace
    """
    from experiments.bench.command import BenchError, launch_bench

    try:
        sys.exit(launch_bench(quick, out, only, datapath))
    except BenchError as error:
        raise BadInput(str(error)) from error
