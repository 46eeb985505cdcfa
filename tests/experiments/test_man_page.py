"""The manual page says what the help says, in requests that groff knows."""

from __future__ import annotations

import re
import subprocess

import click
import pytest

from experiments.commands.cli import main
from experiments.commands.man_page import escaped, man_page
from tests.experiments.commands_help import commands
from tests.needed_programs import need_program

#: Of groff_man(7), and of roff(7) for text as it is.
REQUESTS = {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".nf", ".fi"}


@pytest.fixture(scope="module")
def page() -> str:
    """The page of the whole command line."""
    return man_page(main, "resetbed")


def read(line: str) -> str:
    """What a reader sees of a line."""
    return line.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")


def test_each_command_has_a_section_with_all_its_options(page: str) -> None:
    sections = dict(
        re.findall(
            r"^\.SS (\S+)[^\n]*\n(.*?)(?=^\.SS |\Z)", page, re.DOTALL | re.MULTILINE
        )
    )
    there = {read(name): read(text) for name, text in sections.items()}
    wanted = dict(commands())
    wanted.pop("resetbed", None)
    assert wanted.keys() <= there.keys()
    for name, command in wanted.items():
        shown = (one for one in command.params if isinstance(one, click.Option))
        options = [one.opts[0] for one in shown if not one.hidden]
        assert [one for one in options if one not in there[name]] == [], name


def test_no_text_is_taken_for_a_request(page: str) -> None:
    requests = {line.split()[0] for line in page.splitlines() if line[:1] in (".", "'")}
    assert requests <= REQUESTS


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("./resetbed up", r"\&./resetbed up"),
        ("'quoted'", r"\&'quoted'"),
        ("--out a\\b", r"\-\-out a\eb"),
        ("plain.", "plain."),
    ],
)
def test_what_groff_would_read_is_escaped(text: str, line: str) -> None:
    assert escaped(text) == line
    assert read(line) == text


def test_groff_has_nothing_to_say(page: str) -> None:
    command = (need_program("groff"), "-man", "-Tutf8", "-ww")
    done = subprocess.run(
        command, input=page, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
