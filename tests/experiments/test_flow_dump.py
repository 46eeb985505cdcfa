"""A switch's flow table is waited for: the switch may be busy, or be started again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.cluster.errors import ClusterError
from experiments.cluster.flow_dump import dump_flows


@pytest.fixture
def refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file; each line that is left in it makes an ``ovs-ofctl`` fail once."""
    left = tmp_path / "refusals"
    program = tmp_path / "ovs-ofctl"
    program.write_text(
        "#!/bin/sh\n"
        f"if [ -s {left} ]; then sed -i 1d {left}; echo no socket >&2; exit 1; fi\n"
        "echo priority=1 actions=drop\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return left


def test_a_switch_that_is_started_again_is_asked_again(refusals: Path) -> None:
    refusals.write_text("one\ntwo\n")
    assert dump_flows("c1", timeout_s=30.0) == "priority=1 actions=drop\n"
    assert refusals.read_text() == ""


def test_a_switch_that_never_answers_is_named(refusals: Path) -> None:
    refusals.write_text("again\n" * 1000)
    with pytest.raises(ClusterError, match="c1 did not print.* 0.3 s: no socket"):
        dump_flows("c1", timeout_s=0.3)
