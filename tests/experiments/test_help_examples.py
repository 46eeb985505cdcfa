"""Every command's help has an example, and each example works as it is pasted.

All are parsed by the command itself. Those of commands that only read are executed here;
those that need a cluster in ``tests/system/test_help_examples_live.py``. Those that run
experiments for minutes, or read an earlier result, are parsed only.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
import pytest

from experiments.commands.cli import main
from tests.experiments.commands_help import (
    ROOT,
    all_examples,
    arguments,
    as_here,
    commands,
    examples,
)

#: Commands that need no cluster, no root and no earlier result, and take seconds.
READING = ("completion", "export", "man", "predict", "scenarios", "schema", "validate")


@pytest.mark.parametrize(
    ("name", "command"), [*commands()], ids=lambda one: str(one)[:20]
)
def test_every_commands_help_has_an_example(name: str, command: click.Command) -> None:
    own = [one for one in examples(command) if arguments(one)[:1] == [name]]
    assert own, f"./resetbed {name} --help has no line with ./resetbed {name} ..."


@pytest.mark.parametrize(("name", "example"), all_examples())
def test_a_command_takes_the_arguments_of_its_example(
    name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files of an earlier result are named, they are there."""
    called, *others = arguments(example)
    for word in others:
        if word.startswith("results/"):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch() if "." in word else (tmp_path / word).mkdir()
    monkeypatch.chdir(tmp_path)
    command = main.get_command(click.Context(main), called)
    assert command is not None, f"./resetbed {name} --help names {called}"
    command.make_context(called, others)  # raises UsageError


@pytest.mark.parametrize(("name", "example"), all_examples(*READING))
def test_examples_that_only_read_work(name: str, example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_here(example)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert example.startswith("source") or any((done.stdout, *written))
