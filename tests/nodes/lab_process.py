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
from pathlib import Path
from typing import Any

_DEADLINE_S = 90.0
_UNSHARE = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]


class LabFailed(AssertionError):
    """A method of the lab raised; the text is its traceback."""


class LabProcess:
    """Calls methods of a lab in another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*_UNSHARE, "--mount-proc", sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """What ``Lab.method(*arguments)`` returns. Raises :class:`LabFailed`."""
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump((method, arguments), self._process.stdin)
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _DEADLINE_S)[0]:
            raise LabFailed(f"{method} has not returned")
        succeeded, result = pickle.load(self._process.stdout)
        if not succeeded:
            raise LabFailed(result)
        return result

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
            method, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, getattr(lab, method)(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the test is to see it
            answer = False, traceback.format_exc()
        pickle.dump(answer, replies)
        replies.flush()


if __name__ == "__main__":
    _serve()
