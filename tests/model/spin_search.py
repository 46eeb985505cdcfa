"""Searches every state of one question of the model: spin(1), a C compiler, pan.

Spin writes a program in C (``pan``), which goes through all states that can be reached.
What it prints is read strictly: a search that ended early proves nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.needed_programs import need_program

MODEL = Path(__file__).resolve().parent
TOOLS = ("spin", "gcc")

#: What pan says, or does not say, if it has not seen all states one by one.
_CUT_SHORT = (
    "Search not completed",
    "max search depth too small",
    "out of memory",
    "hash-compact",
    "Bit statespace",
)
_ERRORS = re.compile(r"^State-vector \d+ byte, depth reached \d+, errors: (\d+)$", re.M)
_STATES = re.compile(r"^ *([\d.e+]+) states, stored", re.M)
_FAILED = re.compile(r"^spin: (\w+\.pml):(\d+), Error: assertion violated$", re.M)
_PROPERTY = re.compile(r"/\* \((\w)\) \*/")


@dataclass(frozen=True)
class Question:
    """One search. ``switches``: what is defined for it; ``deeper``: for a longer search.

    ``endless``: it also looks for runs that never come to "progress" again.
    """

    name: str
    source: str
    switches: tuple[str, ...] = ()
    deeper: tuple[str, ...] = ()
    endless: bool = False


@dataclass(frozen=True)
class Found:
    """What a search came to.

    ``complete``: whether it saw every state. ``broken``: the letter of the property that
    does not hold, "" if all do.
    """

    states: int
    errors: int
    complete: bool
    broken: str
    output: str


def need_tools() -> None:
    """Skips the test where a tool is missing; in continuous integration fails it."""
    for tool in TOOLS:
        need_program(tool)


def search(
    folder: Path,
    question: Question,
    table: str,
    removed: Iterable[str] = (),
    optimise: str = "-O0",
) -> Found:
    """Searches in an empty folder; ``table``: the text of the guard's table.

    ``removed``: further switches. Raises :class:`subprocess.CalledProcessError` if a tool
    fails, and :class:`AssertionError` if pan's output is not understood.
    """
    for source in MODEL.glob("*.pml"):
        shutil.copy(source, folder)
    (folder / "guard_table.pml").write_text(table, "utf-8")
    defined = [f"-D{switch}" for switch in (*question.switches, *removed)]
    _run(folder, ["spin", "-a", *defined, question.source])
    kind = "-DNP" if question.endless else "-DSAFETY"
    _run(folder, ["gcc", optimise, "-w", kind, "-o", "pan", "pan.c"])
    loops = ["-l"] if question.endless else []
    output = _run(folder, ["./pan", "-n", "-m100000", "-w20", *loops])
    return _read(folder, question, defined, output)


def _run(folder: Path, command: Sequence[str]) -> str:
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def _read(
    folder: Path, question: Question, defined: Sequence[str], output: str
) -> Found:
    errors, states = _ERRORS.search(output), _STATES.search(output)
    assert errors and states, output
    assert re.search(r"^\tassertion violations\s*\+", output, re.M), output
    if question.endless:
        assert re.search(r"^\tnon-progress cycles\s*\+", output, re.M), output
    full = "Full statespace search for:" in output
    cut_short = any(words in output for words in _CUT_SHORT)
    count = int(errors[1])
    broken = _broken(folder, question, defined, output) if count else ""
    return Found(int(float(states[1])), count, full and not cut_short, broken, output)


def _broken(
    folder: Path, question: Question, defined: Sequence[str], output: str
) -> str:
    """The property, as the model's source names it in the line that failed."""
    if "non-progress cycle" in output.split("(Spin Version")[0]:
        return "c"
    replayed = _run(folder, ["spin", "-t", *defined, question.source])
    failed = _FAILED.search(replayed)
    assert failed, replayed
    line = (MODEL / failed[1]).read_text("utf-8").splitlines()[int(failed[2]) - 1]
    named = _PROPERTY.search(line)
    assert named, f"{failed[0]}: the model has another assertion: {line}"
    return named[1]
