"""``./resetbed worker``: this machine runs what a scheduler hands to it."""

from __future__ import annotations

import platform
from pathlib import Path

import click

from experiments.commands.cli_options import BadInput, handles_errors, keys_option


@click.command("worker")
@click.argument("address")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Runs at a time. They share the cores, which changes their measured times.",
)
@click.option(
    "--name", help="Name of this machine in tables.  [default: its host name]"
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Where the scheduler can reach this worker.  [default: any free port]",
)
@click.option(
    "--work",
    default="/var/tmp/resetbed-worker",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the files of runs, until they are sent.",
)
@keys_option
@handles_errors
def command(
    address: str,
    jobs: int,
    name: str | None,
    port: int,
    work: Path,
    keys_folder: Path | None,
) -> None:
    """Run what the scheduler at ADDRESS hands over, until it is ended.

    \b
      ./resetbed worker tcp://192.0.2.1:8786
      ./resetbed worker tcp://192.0.2.1:8786 --jobs 4

    ADDRESS may be a scheduler file. Every machine needs the same checkout and the same
    keys. If the scheduler goes, the runs under way are ended, and the worker waits for it.
    """
    from experiments.fleet.addresses import find_address
    from experiments.fleet.dask_extra import require_dask
    from experiments.fleet.tls_keys import find_keys
    from experiments.spec.names import check_name, valid_name

    scheduler = find_address(address)
    require_dask()
    keys = find_keys(scheduler, keys_folder)

    from experiments.fleet.dask_worker import WorkerOptions, run_worker

    try:
        called = check_name(name) if name else valid_name(platform.node())
    except ValueError as error:
        raise BadInput(f"--name: {error}") from error
    options = WorkerOptions(called, jobs, work.absolute() / called, port)
    run_worker(
        scheduler, keys, options, lambda text: click.echo(f"resetbed: {text}", err=True)
    )
