"""``./resetbed model ... --against``: the model beside a run, or beside a sweep's runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.commands.cli_options import BadInput

if TYPE_CHECKING:
    from experiments.model.model_spec import ModelSpec


def compare_one(spec: ModelSpec, folder: Path, as_json: bool) -> int:
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


def compare_each(folder: Path, as_json: bool) -> int:
    """The model beside each run of a sweep, by its own spec; the exit status."""
    from experiments.display.render import console
    from experiments.files.disk_full import disk_full_named
    from experiments.model.against_each import agree_each, agreements_table

    found = []
    with disk_full_named(folder):
        for one in agree_each(folder):
            click.echo(f"{one.name}: {'agrees' if one.holds else 'differs'}", err=True)
            found.append(one)
    if not found:
        raise BadInput(f"{folder}: no run that can be trusted; is it a sweep's folder?")
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found]))
    else:
        console().print(agreements_table(found))
    return 0 if all(one.holds for one in found) else 1
