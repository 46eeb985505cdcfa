"""The examples in the help of commands about a running cluster, executed on one cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.commands.cli_options import EXIT_UNMET_REQUIREMENT
from experiments.doctor.kernel_probes import probe_some
from experiments.machine.machine import State
from tests.experiments.commands_help import ROOT, all_examples, as_here
from tests.system.commands import Background

pytestmark = [pytest.mark.live, pytest.mark.beside]


def has_netem() -> bool:
    """Where it is missing, its example has to say so."""
    return probe_some(["sch_netem"])["sch_netem"].state is not State.MISSING


#: Takes the place of the window that nobody looks at: it reads the section header, and leaves.
_WIRESHARK = """#!/bin/sh
test "$*" = "-k -i -" && exec head -c 28 >/dev/null
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Background]:
    cluster = Background.up("examples")
    yield cluster
    cluster.down()


@pytest.mark.parametrize(
    ("command", "example"),
    all_examples("capture", "event", "exec", "link", "status", "watch"),
)
def test_an_example_works(
    cluster: Background, tmp_path: Path, command: str, example: str
) -> None:
    """As pasted, but for the name of the cluster."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "wireshark").write_text(_WIRESHARK)
    (programs / "wireshark").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    named = example.replace(f" {command} ", f" {command} --name {cluster.name} ", 1)
    if named == example:
        named += f" --name {cluster.name}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_here(named)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = 0
    if "--delay-ms" in example and not has_netem():
        expected = EXIT_UNMET_REQUIREMENT
    assert done.returncode == expected, f"{done.stdout}{done.stderr}"
