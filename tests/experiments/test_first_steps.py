"""What the command says without arguments, and how shells complete it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from experiments.commands.completion import VARIABLE
from tests.experiments.commands_help import commands, ok

ROOT = Path(__file__).resolve().parents[2]


def test_without_arguments_it_says_what_to_do_first() -> None:
    text = ok(CliRunner().invoke(main, []))
    named = {name for name, _ in commands()}
    said = [line.split()[1] for line in text.splitlines() if "./resetbed " in line]
    assert said[0] == "demo"
    assert {word for word in said if word != "--help"} <= named


@pytest.mark.parametrize(
    ("words", "expected"),
    [("./resetbed li", "link"), ("./resetbed export --for", "--format")],
)
def test_bash_completes_by_what_the_command_answers(words: str, expected: str) -> None:
    """The answer that the script of click asks for, by the same variables."""
    count = str(len(words.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-m", "experiments"],
        env={
            **os.environ,
            VARIABLE: "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": count,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"plain,{expected}" in done.stdout.splitlines()


def test_the_script_of_each_shell_asks_by_that_variable() -> None:
    for shell in ("bash", "zsh", "fish"):
        script = ok(CliRunner().invoke(main, ["completion", shell]))
        assert f"{VARIABLE}={shell}_complete" in script
        if shutil.which(shell):
            checked = [shell, "-n"] if shell != "fish" else [shell, "--no-execute"]
            subprocess.run(checked, input=script, text=True, check=True)
