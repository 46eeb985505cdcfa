"""The kernel's guard and the decision table share their names and constants."""

from __future__ import annotations

import re

import pytest

from nodes.guard import verdict, verdict_header
from nodes.guard.guard import GuardCounters
from nodes.guard.guard_ebpf import COUNTERS, SOURCE
from nodes.guard.verdict import INGRESS, Fit, Mode, Status

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DEFINED = re.compile(r"#define\s+(\w+)|^\s+([A-Z][A-Z_0-9]*)\s*[,=]", re.MULTILINE)


def _program() -> str:
    files = sorted(SOURCE.parent.glob("*.bpf.[ch]"))
    return _COMMENT.sub("", "\n".join(file.read_text() for file in files))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _table_names() -> set[str]:
    members = (*Status, *Fit, *Mode)
    durations = verdict_header.DURATIONS
    return {"SEQUENCE_SLACK", *durations, *(member.name for member in members)}


def test_the_program_uses_every_name_of_the_table() -> None:
    assert _table_names() - _words(_program()) == set()


def test_the_program_defines_no_name_of_the_table_itself() -> None:
    program = _program()
    defined = {word for pair in _DEFINED.findall(program) for word in pair if word}
    assert defined & _words(verdict_header.verdict_header()) == set()
    assert re.findall(r"enum\s+\w+\s*{", program) == []


def test_every_enumeration_of_the_program_is_one_of_the_table() -> None:
    named = set(re.findall(r"enum\s+(\w+)", _program()))
    assert named == set(verdict_header.ENUMERATIONS)


def test_every_status_but_freed_and_relayed_has_a_row() -> None:
    # FREED is for judge_egress. RELAYED means: not NOTHING, so the reset is not relayed.
    with_row = {rule.status for rule in INGRESS} - {None}
    assert with_row == set(Status) - {Status.FREED, Status.RELAYED}


def test_the_header_follows_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    text = verdict_header.verdict_header()
    assert f"#define SEQUENCE_SLACK {verdict.SEQUENCE_SLACK}\n" in text
    assert "#define RESET_INTERVAL_NS 500000000ULL\n" in text
    assert "#define FLAG_ACK 0x10\n" in text
    monkeypatch.setitem(verdict_header.DURATIONS, "RESET_INTERVAL_NS", 0.25)
    changed = verdict_header.verdict_header()
    assert "#define RESET_INTERVAL_NS 250000000ULL\n" in changed


def test_the_counters_are_in_the_order_of_their_class() -> None:
    (body,) = re.findall(r"struct counters { (.*) };", verdict_header.verdict_header())
    names = re.findall(r"__u64 (\w+);", body)
    assert GuardCounters(*range(len(names))) == GuardCounters(
        **{name: i for i, name in enumerate(names)}
    )
    assert COUNTERS.size == 8 * len(names)
