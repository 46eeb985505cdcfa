"""``./resetbed memory``: what a half-open connection costs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from experiments.commands.cli_options import BadInput, handles_errors


@click.command("memory")
@click.option(
    "--connections",
    type=click.IntRange(10, 20_000),
    default=10_000,
    show_default=True,
    help="How many half-open connections; fewer where a server takes fewer.",
)
@click.option("--repetitions", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--only", help="Names, separated by commas, e.g. nbd,echo.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
@handles_errors
def command(
    connections: int, repetitions: int, only: str | None, out: Path | None
) -> None:
    """Measure what a half-open connection costs in each server and in the kernel.

    \b
      ./resetbed memory
      ./resetbed memory --only nbd --connections 1000

    Two hosts on a wire: connections are opened, and their client vanishes without a word.
    Idle, and with an answer that the server could not send. No cluster is built. The
    kernel's objects are counted for the whole machine: other programs disturb them, so
    medians are shown. Some three minutes.
    """
    from experiments.memory.conversations import CONVERSATIONS
    from experiments.memory.memory_table import measure_all
    from experiments.running.launch import empty_folder

    names = only.split(",") if only else list(CONVERSATIONS)
    for name in names:
        if name not in CONVERSATIONS:
            known = ", ".join(CONVERSATIONS)
            raise BadInput(f"--only: no server {name!r}; choose from {known}")
    label = f"memory-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = empty_folder(out or Path("results") / label)
    sys.exit(measure_all(names, connections, repetitions, folder))
