"""Runs a :class:`tests.nodes.lab.Lab` in namespaces of its own, a process to talk to.

The parent's side is :class:`LabProcess`; as a program, this file is the child's side.
The child is PID 1 of its PID namespace: nothing that it started outlives it.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")

_DEADLINE_S = 90.0
_UNSHARE = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]


class LabFailed(AssertionError):
    """What ran in the lab raised; the text is its traceback."""


class LabProcess:
    """Runs functions on a lab in another process; both must be importable there."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*_UNSHARE, "--mount-proc", sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """What ``act(lab, *arguments)`` returns there. Raises :class:`LabFailed`."""
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump((act, arguments), self._process.stdin)
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _DEADLINE_S)[0]:
            raise LabFailed(f"{act.__name__} has not returned")
        succeeded, result = pickle.load(self._process.stdout)
        if not succeeded:
            raise LabFailed(result)
        return cast(T, result)

    def close(self) -> None:
        """End the lab and all in it."""
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    from tests.nodes.lab import Lab

    requests = sys.stdin.buffer
    # What a library prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lab = Lab()
    while True:
        try:
            act, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, act(lab, *arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the test is to see it
            answer = False, traceback.format_exc()
        pickle.dump(answer, replies)
        replies.flush()


if __name__ == "__main__":
    _serve()
