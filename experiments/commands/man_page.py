"""``./resetbed man``: the manual page, made from the help of every command.

The page is for man(7)'s macros. Text that must stay as it is (examples, after a line with
``\\b`` in a click help) stands between ``.nf`` and ``.fi``.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

import click

#: Click's mark of a paragraph that is not to be rewrapped.
_AS_IT_IS = "\b\n"


@click.command("man")
@click.pass_context
def command(context: click.Context) -> None:
    """Print a manual page of all commands, made from their help.

    Read it with `man ./resetbed.1`.

    \b
      ./resetbed man >resetbed.1
    """
    click.echo(man_page(context.find_root().command, "resetbed"))


def man_page(main: click.Command, name: str) -> str:
    """The manual page of a group of commands, as groff_man(7) reads it."""
    root = click.Context(main, info_name=name)
    assert isinstance(main, click.Group), "it has commands"
    summary = (main.help or "").strip().partition("\n")[0].rstrip(".")
    lines = [
        f'.TH {name.upper()} 1 "" {name} "User Commands"',
        ".SH NAME",
        f"{name} \\- {escaped(summary)}",
        ".SH SYNOPSIS",
        f".B {name}",
        r"[\fIOPTION\fR]... \fICOMMAND\fR [\fIARGUMENT\fR]...",
        ".SH DESCRIPTION",
        *_text(main.help or ""),
        *_options(root),
        ".SH COMMANDS",
    ]
    for each in main.list_commands(root):
        one = main.get_command(root, each)
        if one is not None and not one.hidden:
            lines += _section(click.Context(one, info_name=each, parent=root))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text in which groff sees no request and no escape, and a minus stays a minus."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _section(context: click.Context) -> Iterator[str]:
    """One command: how it is called, what it does, and its options."""
    pieces = context.command.collect_usage_pieces(context)
    yield f".SS {escaped(' '.join([context.info_name or '', *pieces]))}"
    yield from _text(context.command.help or "")
    yield from _options(context)


def _text(help_: str) -> Iterator[str]:
    """The paragraphs of a help text."""
    for number, paragraph in enumerate(inspect.cleandoc(help_).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith(_AS_IT_IS):
            yield ".nf"
            block = textwrap.dedent(paragraph.removeprefix(_AS_IT_IS))
            yield from map(escaped, block.splitlines())
            yield ".fi"
        else:
            yield from map(escaped, paragraph.splitlines())


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            names, meaning = record
            yield ".TP"
            yield f"\\fB{escaped(names)}\\fR"
            yield escaped(" ".join(meaning.split()))
