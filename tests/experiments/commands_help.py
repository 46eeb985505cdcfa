"""The commands of the command line, and the examples in their help."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import Result

from experiments.commands.cli import main

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = re.compile(r"^ *(?=.*\./resetbed )(.*)$", re.M)
#: What a user pastes begins with one of these.
_BEGINNINGS = ("./resetbed ", "source <(./resetbed ")
#: The shell's own: the words of the command end here.
_END = re.compile(r"[|>)]")


def ok(result: Result) -> str:
    """The output of a command that had to succeed."""
    assert result.exit_code == 0, result.output
    return result.output


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, by its name."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, command


def examples(command: click.Command) -> list[str]:
    """The command lines in a command's help, each without a remark behind it."""
    text = inspect.cleandoc(command.help or "")
    lines = [line.strip() for line in _EXAMPLE.findall(text)]
    return [re.split(r"  +", one)[0] for one in lines if one.startswith(_BEGINNINGS)]


def all_examples(*names: str) -> list[tuple[str, str]]:
    """Command and example, of those commands; of all where none is named."""
    return [
        (name, example)
        for name, command in commands()
        for example in examples(command)
        if not names or name in names
    ]


def arguments(example: str) -> list[str]:
    """The arguments of the command in an example, without what is the shell's."""
    _, _, rest = example.partition("./resetbed ")
    words = shlex.shlex(rest, posix=True, punctuation_chars="|>()")
    words.whitespace_split = True
    found: list[str] = []
    for word in words:
        if _END.match(word):
            break
        found.append(word)
    return found


def as_here(example: str) -> str:
    """The same line for a shell in any folder: the launcher's place is taken by Python."""
    python = f"{shlex.quote(sys.executable)} -m experiments "
    return example.replace("./resetbed ", python)
