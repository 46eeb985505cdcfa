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

from experiments.commands.cli_options import BadInput, handles_errors

if TYPE_CHECKING:
    from experiments.model.model_spec import ModelSpec


#: Instead of a spec: the published experiments.
PUBLISHED = "published"


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
@handles_errors
def command(
    spec: str,
    overrides: tuple[str, ...],
    compare: bool,
    as_json: bool,
    out: Path | None,
    against: Path | None,
) -> None:
    """Compute SPEC instead of emulating it: from one rack to 100 million connections.

    SPEC is a scenario, a YAML file of a run, or one with the section `model:`. Needs no
    root and builds no cluster.

    \b
      ./resetbed model drain-node --compare
      ./resetbed model rack --compare --out results/rack
      ./resetbed model internet --set model.connections=1_000_000
      ./resetbed model drain-node --against results/drained

    `published`: what others published, and ours; exit status 1 if one is out of tolerance.
    With --against: exit status 1 if model and measurement differ by more than the bounds
    in docs/simulation.md. FOLDER gets agreement.json, and its report shows it.
    """
    if spec == PUBLISHED:
        sys.exit(_check_published(as_json, overrides or compare or out or against))
    from experiments.model.engine import ComputationEnded
    from experiments.model.model_run import all_policies, compute_spec, write_folder
    from experiments.model.model_spec import load_model_spec
    from experiments.spec.spec_file import SpecError

    started = time.monotonic()
    try:
        loaded = load_model_spec(spec, overrides)
        if against is not None:
            sys.exit(_compare(loaded, against, as_json))
        policies = all_policies() if compare else [loaded.policy]
        summaries = compute_spec(loaded, policies, report_progress)
    except (SpecError, ValueError) as error:
        raise BadInput(str(error)) from error
    except ComputationEnded as error:
        raise click.ClickException(str(error)) from error
    finally:
        clear_progress()
    if out is not None:
        write_folder(out, loaded, summaries)
    if as_json:
        for summary in summaries:
            click.echo(json.dumps(summary))
    else:
        _show(summaries, out, started)


def _show(
    summaries: Sequence[Mapping[str, Any]], out: Path | None, started: float
) -> None:
    """The tables, and what they took."""
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


def _compare(spec: ModelSpec, folder: Path, as_json: bool) -> int:
    """The model beside a run; the exit status."""
    from experiments.display.render import console
    from experiments.files.disk_full import disk_full_named
    from experiments.files.whole_file import write_whole
    from experiments.model.against import agreement
    from experiments.model.model_table import agreement_table
    from experiments.results.run_folder import AGREEMENT, RunFolder

    try:
        found = agreement(spec, RunFolder.read(folder))
        text = json.dumps(found.to_json(), indent=1) + "\n"
        with disk_full_named(folder):
            write_whole(folder / AGREEMENT, text)
    except OSError as error:
        raise BadInput(f"{folder}: {error}; is it a run's folder?") from error
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        console().print(agreement_table(found))
        for connection in found.differ:
            click.echo(f"moved in one of the two only: {connection}")
    return 0 if found.holds else 1


def report_progress(what: str, done: int, whole: int) -> None:
    """One line on standard error, if that is a terminal."""
    if sys.stderr.isatty():
        share = f"{done / whole:.0%}" if whole else ""
        click.echo(f"\r{what:20} {share:>5}", err=True, nl=False)


def clear_progress() -> None:
    """Removes that line."""
    if sys.stderr.isatty():
        click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
