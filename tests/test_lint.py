"""``./resetbed lint``: what it looks at, what it says, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nodes.kernel.bpf_build import compile_program
from nodes.kernel.libbpf import BpfError
from tests.lint import CHECKOUT, CHECKS, Check, bpf_programs, report, shell_scripts

GOOD = Check("good", list)
WRONG = Check("wrong", lambda: ["a.py:1: this is wrong"])
ABSENT = Check("absent", lambda: ["never made"], needs="no-such-program-of-ours")


def test_it_succeeds_where_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([GOOD]) == 0
    assert capsys.readouterr().out.split()[:2] == ["good", "ok"]


def test_one_complaint_fails_the_check_and_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report([GOOD, WRONG, GOOD]) == 1
    assert "    a.py:1: this is wrong\n" in capsys.readouterr().out


def test_a_missing_tool_is_skipped_and_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert report([GOOD, ABSENT]) == 0
    assert "no-such-program-of-ours is not installed" in capsys.readouterr().out


def test_in_continuous_integration_nothing_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    assert report([GOOD, ABSENT]) == 1


def test_every_script_and_every_program_is_looked_at() -> None:
    assert {"resetbed", ".ci/run", "tests/kernel/init"} <= set(shell_scripts())
    names = [path.name for path in bpf_programs()]
    assert names == ["sockets.bpf.c", "guard.bpf.c"]


def test_a_warning_of_the_compiler_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "careless.bpf.c"
    source.write_text("static int unused(int a) { return 0; }\n")
    with pytest.raises(BpfError, match="unused"):
        compile_program(source, build=tmp_path)


def test_the_commit_hook_calls_it() -> None:
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    [repository] = hooks["repos"]
    [hook] = repository["hooks"]
    assert (repository["repo"], hook["entry"]) == ("local", "./resetbed lint")
    assert hook["pass_filenames"] is False


def test_names_of_checks_are_unique() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) == 5
