"""``./resetbed cluster-keys``: keys for a scheduler and its workers."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.commands.cli_options import handles_errors


@click.command("cluster-keys")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new or empty folder.  [default: /etc/resetbed/keys]",
)
@handles_errors
def command(out: Path | None) -> None:
    """Make the keys with which a scheduler, its workers and sweeps know each other.

    Who has them can run any program as root on every worker. Make them once, and copy the
    folder to the same place on each machine (docs/many-machines.md). They are good for two
    years.

    \b
      ./resetbed cluster-keys
      ./resetbed cluster-keys --out keys
    """
    from experiments.fleet.dask_extra import require_dask
    from experiments.fleet.tls_keys import DEFAULT_FOLDER, make_keys

    require_dask()
    keys = make_keys(out or DEFAULT_FOLDER)
    click.echo(f"keys in {keys.folder}; copy this folder to every machine, as root:")
    click.echo(f"  rsync -a {keys.folder}/ root@HOST:{DEFAULT_FOLDER}/")
