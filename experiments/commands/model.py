"""``./resetbed model``: a cluster computed instead of emulated."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.cli_options import BadInput, handles_errors, keys_option

if TYPE_CHECKING:
    from experiments.model.model_spec import ModelSpec


#: Instead of a spec: the published experiments.
PUBLISHED = "published"
#: Instead of a spec: each run's own, of a whole sweep.
EACH = "each"


@click.command("model")
@click.argument("spec")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--compare", is_flag=True, help="Every policy, on the same connections.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object for each policy."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for figures and plots."
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a run: compare the model with what was measured there.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on the workers of this scheduler: tcp://HOST:8786, or a scheduler file.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    help="With --scheduler: parts of the connections.  [default: one for 26 million]",
)
@keys_option
@handles_errors
def command(
    spec: str,
    overrides: tuple[str, ...],
    compare: bool,
    as_json: bool,
    out: Path | None,
    against: Path | None,
    **machines: Any,
) -> None:
    """Compute SPEC instead of emulating it: from one rack to 100 million connections.

    SPEC: a scenario, or a YAML file, also with the section `model:`. Needs no root.

    \b
      ./resetbed model drain-node --compare
      ./resetbed model rack --compare --out results/rack
      ./resetbed model internet --set model.connections=1_000_000
      ./resetbed model drain-node --against results/drained
      ./resetbed model each --against results/model
      ./resetbed model internet --scheduler tcp://192.0.2.1:8786

    `published`: what others published, and ours; exit status 1 if one is out of tolerance.
    With --against: exit status 1 if the two differ by more than the bounds in
    docs/simulation.md; the report shows it. `each`: every run of a sweep, by its own spec.
    """
    others = overrides or compare or out or machines["scheduler"]
    if spec == PUBLISHED:
        sys.exit(_check_published(as_json, others or against))
    if spec == EACH:
        sys.exit(_check_each(against, as_json, others))
    if machines["shards"] is not None and machines["scheduler"] is None:
        raise BadInput("--shards: only with --scheduler")
    from experiments.commands.model_against import compare_one
    from experiments.model.model_run import write_folder
    from experiments.model.model_spec import load_model_spec
    from experiments.spec.spec_file import SpecError

    started = time.monotonic()
    try:
        loaded = load_model_spec(spec, overrides)
        if against is not None:
            sys.exit(compare_one(loaded, against, as_json))
        summaries = _computed(loaded, compare, **machines)
    except (SpecError, ValueError) as error:
        raise BadInput(str(error)) from error
    finally:
        clear_progress()
    if out:
        write_folder(out, loaded, summaries)
    _show(summaries, as_json, out, started)


def _computed(
    spec: ModelSpec,
    compare: bool,
    scheduler: str | None,
    shards: int | None,
    keys_folder: Path | None,
) -> list[dict[str, Any]]:
    """The figures of one policy or of all: here, or by the workers of a scheduler.
    Installs Dask if it is asked for and missing."""
    from experiments.model.engine import ComputationEnded
    from experiments.model.model_run import all_policies, compute_spec

    policies = all_policies() if compare else [spec.policy]
    if scheduler is None:
        try:
            return compute_spec(spec, policies, report_progress)
        except ComputationEnded as error:
            raise click.ClickException(str(error)) from error
    from experiments.fleet.addresses import find_address
    from experiments.fleet.dask_extra import require_dask
    from experiments.fleet.tls_keys import find_keys
    from experiments.model.many_shards import ShardMachines, compute_on_machines

    address = find_address(scheduler)
    require_dask()
    keys = find_keys(address, keys_folder)
    # A shard is the same on any machine, so it need not wait for one that has left.
    machines = ShardMachines(address, keys, patience_s=0.0, shards=shards)
    return compute_on_machines(spec, policies, machines, report_progress)


def _check_each(against: Path | None, as_json: bool, others: object) -> int:
    """The model beside each run of a folder; the exit status."""
    from experiments.commands.model_against import compare_each

    if against is None or others:
        raise BadInput(f"model {EACH} takes --against, --json, and no other option")
    return compare_each(against, as_json)


def _show(
    summaries: Sequence[Mapping[str, Any]],
    as_json: bool,
    out: Path | None,
    started: float,
) -> None:
    """The tables, and what they took; or one JSON object for each policy."""
    if as_json:
        for summary in summaries:
            click.echo(json.dumps(summary))
        return
    from experiments.display.render import console
    from experiments.model.model_table import figures_tables

    for table in figures_tables(summaries):
        console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    click.echo(f"{time.monotonic() - started:.1f} s, {peak:,.0f} MiB")
    if out is not None:
        click.echo(f"figures and plots: {out}")


def _check_published(as_json: bool, others: object) -> int:
    """Published figures beside ours; the exit status. ``others``: other options given."""
    from experiments.display.render import console
    from experiments.published.published_check import check_rows, table_of
    from experiments.published.published_rows import read_rows

    if others:
        raise BadInput(f"model {PUBLISHED} takes --json, and no other option")
    checked = list(check_rows(read_rows(), report_progress))
    clear_progress()
    if as_json:
        click.echo(json.dumps([one.to_json() for one in checked]))
    else:
        console().print(table_of(checked))
    failed = [(one.row, figure) for one in checked for figure in one.failed]
    for row, figure in failed:
        click.echo(f"{row.name}: {figure.name} is out of its tolerance", err=True)
    return 1 if failed else 0


def report_progress(what: str, done: int, whole: int) -> None:
    """One line on standard error, if that is a terminal."""
    if sys.stderr.isatty():
        share = f"{done / whole:.0%}" if whole else ""
        click.echo(f"\r{what:20} {share:>5}", err=True, nl=False)


def clear_progress() -> None:
    """Removes that line."""
    if sys.stderr.isatty():
        click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
