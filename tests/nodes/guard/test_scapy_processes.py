"""A guard's process that is killed while it starts is started again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.guard.guard import GuardError, GuardSettings
from nodes.guard.scapy_processes import ScapyGuard
from nodes.guard.verdict import Mode
from topologies.domain.site import Site

SITE = Site("c1n1", 1, "eth0", "02:00:00:00:00:01")
KILLED = "kill -9 $$"


def guard_of(folder: Path, scripts: list[str]) -> ScapyGuard:
    """A guard whose processes are shell scripts, one after the other."""
    guard = ScapyGuard(folder)
    left = iter(scripts)
    start: Callable[[Site], subprocess.Popen[str]] = lambda _: subprocess.Popen(  # noqa: E731
        ["sh", "-c", next(left)], stdout=subprocess.PIPE, text=True
    )
    guard._start = start  # type: ignore[assignment,method-assign]
    return guard


def test_one_that_is_killed_is_started_again(tmp_path: Path) -> None:
    guard = guard_of(tmp_path, [KILLED, "echo ready; exec sleep 99"])
    guard.attach([SITE], GuardSettings(Mode.ANSWER))
    process = guard._guards["c1n1"].process
    assert process.poll() is None
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("scripts", "status"), [(["exit 3"], 3), ([KILLED, KILLED, KILLED], -9)]
)
def test_one_that_ends_by_itself_is_not(
    tmp_path: Path, scripts: list[str], status: int
) -> None:
    guard = guard_of(tmp_path, scripts)
    with pytest.raises(GuardError, match=f"did not start: status {status}"):
        guard.attach([SITE], GuardSettings(Mode.ANSWER))
    for one in guard._guards.values():
        one.process.communicate()
