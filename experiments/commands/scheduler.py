"""``./resetbed scheduler``: where workers and sweeps meet."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.commands.cli_options import handles_errors, keys_option


@click.command("scheduler")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where to serve.  [default: every address if there are keys, otherwise loopback; "
    "port 8786]",
)
@click.option(
    "--dashboard",
    default="127.0.0.1:8787",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to show Dask's pages. They have no password.",
)
@click.option(
    "--lost-after",
    "lost_after_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=5),
    metavar="SECONDS",
    help="A machine that is silent for so long is gone.",
)
@click.option(
    "--scheduler-file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the address into this file, for workers that share it.",
)
@keys_option
@handles_errors
def command(
    listen: str | None,
    dashboard: str,
    lost_after_s: float,
    file: Path | None,
    keys_folder: Path | None,
) -> None:
    """Serve as the meeting place of workers and sweeps, until it is ended.

    \b
      ./resetbed cluster-keys                             once
      ./resetbed scheduler                                on one machine
      ./resetbed worker tcp://HOST:8786                   on each machine
      ./resetbed sweep designs --scheduler tcp://HOST:8786

    It is Dask's scheduler. Everything is TLS, and both sides show a certificate. Without
    keys only programs of this machine are served.
    """
    from experiments.fleet.addresses import parse_address
    from experiments.fleet.dask_extra import require_dask
    from experiments.fleet.tls_keys import DEFAULT_FOLDER, Keys, find_keys

    everywhere = keys_folder is not None or Keys(DEFAULT_FOLDER).exist
    address = parse_address(listen or ("0.0.0.0" if everywhere else "127.0.0.1"))
    require_dask()
    keys = find_keys(address, keys_folder)

    from experiments.fleet.dask_scheduler import SchedulerOptions, run_scheduler

    if listen is None and not everywhere:
        _say("no keys: only for this machine; for others, ./resetbed cluster-keys")
    options = SchedulerOptions(dashboard, lost_after_s, file)
    run_scheduler(address, keys, options, _say)


def _say(text: str) -> None:
    click.echo(f"resetbed: {text}", err=True)
