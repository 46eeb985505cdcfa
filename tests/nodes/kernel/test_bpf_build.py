"""BPF programs are compiled when they have changed, and then once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nodes.guard.guard_ebpf import SOURCE, compile_guard
from nodes.guard.verdict_header import HEADER, verdict_header
from nodes.kernel import bpf_build
from nodes.kernel.libbpf import BpfError


def test_program_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpf_build, "BUILD", tmp_path / "build")
    first = compile_guard()
    made = first.stat().st_mtime_ns
    assert compile_guard() == first
    assert first.stat().st_mtime_ns == made
    assert list(first.parent.iterdir()) == [first]


@pytest.mark.parametrize("name", ["guard.bpf.c", "guard_reply.bpf.h"])
def test_changed_source_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bpf_build, "BUILD", tmp_path / "build")
    for source in SOURCE.parent.glob("*.bpf.[ch]"):
        shutil.copy(source, tmp_path)
    copied = tmp_path / SOURCE.name
    generated = {HEADER: verdict_header()}
    before = bpf_build.compile_program(copied, generated)
    with (tmp_path / name).open("a") as file:
        file.write("/* changed */\n")
    assert bpf_build.compile_program(copied, generated) != before


def test_changed_generated_header_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpf_build, "BUILD", tmp_path / "build")
    before = compile_guard()
    changed = {HEADER: verdict_header() + "/* changed */\n"}
    assert bpf_build.compile_program(SOURCE, changed) != before


def test_a_compile_error_shows_the_compilers_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "guard.bpf.c"
    broken.write_text("int broken(")
    monkeypatch.setattr(bpf_build, "BUILD", tmp_path)
    with pytest.raises(BpfError, match="error: expected"):
        bpf_build.compile_program(broken)
