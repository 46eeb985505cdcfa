"""The artifact appendix: its commands parse, its expected figures are those of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from experiments.commands.cli import main
from tests.experiments.commands_help import arguments
from tests.lint import CHECKOUT

APPENDIX = CHECKOUT / "docs" / "artifact.md"
#: What the launcher does itself: main() in ``resetbed``.
_LAUNCHERS = ("lint", "setup", "test")
_COMMAND = re.compile(r"\./resetbed [^`\n#]+")


def lines() -> list[str]:
    """The appendix, a line each."""
    return APPENDIX.read_text("utf-8").splitlines()


def named_commands() -> list[str]:
    """Every command line in the appendix, in blocks and in the text."""
    found = _COMMAND.findall(APPENDIX.read_text("utf-8"))
    return [one.strip() for one in found]


def expected() -> list[str]:
    """What a reader should see: rows of tables, and of the block that is the demo's."""
    rows = (line for line in lines() if not line.startswith("./resetbed "))
    return [row for row in rows if row.startswith("| ") or "  " in row.strip()]


@pytest.mark.parametrize("line", named_commands())
def test_each_command_parses(line: str, tmp_path: Path) -> None:
    called, *others = arguments(line)
    if called in _LAUNCHERS:
        assert f"\n    {called})" in (CHECKOUT / "resetbed").read_text("utf-8")
        paths = [word for word in others if not word.startswith("-")]
        assert all((CHECKOUT / path).exists() for path in paths)
        return
    command = main.get_command(click.Context(main), called)
    assert command is not None, f"no command {called}"
    there = [str(tmp_path) if word == "FOLDER" else word for word in others]
    command.make_context(called, there)  # raises UsageError


def test_each_expected_row_stands_in_the_readme_or_a_note() -> None:
    notes = {*CHECKOUT.glob("docs/*.md"), CHECKOUT / "README.md"} - {APPENDIX}
    known = {line for note in notes for line in note.read_text("utf-8").splitlines()}
    assert len(expected()) > 20
    assert [row for row in expected() if row not in known] == []


def test_each_claim_has_a_command() -> None:
    claims = APPENDIX.read_text("utf-8").split("\n## Claim ")[1:]
    assert len(claims) == 7
    assert [one[:20] for one in claims if "\n```\n./resetbed " not in one] == []
