"""What a call asks for, and which tests a stock kernel gets."""

from __future__ import annotations

import shlex

import pytest

from tests.kernel.__main__ import MARK, asked, subset
from tests.kernel.errors import BadInput
from tests.kernel.images import CHECKOUT


def lines(*words: str) -> list[str]:
    return asked([*words]).command.splitlines()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--run", "ls", "a b"], "ls 'a b'"),
        (["--run", "ls; exit 7"], "ls; exit 7"),
        (["--", "-k", "a or b"], "./resetbed test -n 0 -v -k 'a or b'"),
        (["--timeout", "7", "--run", "ls"], "ls"),
    ],
)
def test_the_command_is_the_requested_one(words: list[str], line: str) -> None:
    told, command = lines("debian-12", *words)
    assert told.endswith("RESETBED_KERNEL=debian-12")
    assert shlex.split(command) == shlex.split(line)


def test_without_arguments_the_command_runs_the_subset() -> None:
    *_, command = lines("debian-13")
    words = shlex.split(command)
    assert words[-len(subset()) :] == subset()
    assert words[:2] == ["./resetbed", "test"]


def test_a_machine_alone_has_no_command() -> None:
    assert asked(["debian-12", "--build"]).command == ""


def test_the_subset_is_the_marked_tests() -> None:
    mark, name, *files = subset()
    assert (mark, name) == ("-m", "kernel")
    assert "tests/system/test_datapaths.py" in files
    assert all(MARK in (CHECKOUT / file).read_text() for file in files)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "debian-12"),
        (["debian-1"], "'debian-1'"),
        (["debian-12", "--run"], "--run"),
        (["debian-12", "-k", "x"], "'-k'"),
        (["debian-12", "--build", "ls"], "--build"),
        (["debian-12", "--timeout"], "--timeout"),
        (["debian-12", "--timeout", "-1"], "--timeout"),
        (["debian-12", "--timeout", "nan"], "--timeout"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        asked(words)
