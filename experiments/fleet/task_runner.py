"""Runs the tasks of a worker on its machine. The functions here are what Dask calls.

A task is ended at its deadline, when nobody wants its result any more, and when the worker
loses its scheduler.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.fleet.parcel import pack
from experiments.fleet.task_process import TaskProcess, end
from experiments.machine.code_digest import code_digest

_POLL_S = 0.05


class Withdrawn(RuntimeError):
    """Nobody wants the result any more: the task was ended."""


class TaskRunner:
    """The tasks of one worker. Each has a folder below ``folder`` while it runs.

    ``code``: the digest of the code that the worker joined with. A task is a new process and
    would run what is there now; so if that has changed, nothing runs any more and
    ``on_changed`` is called.
    """

    def __init__(self, folder: Path, code: str, on_changed: Callable[[], None]) -> None:
        self._folder = folder
        self._code = code
        self._on_changed = on_changed
        self._unwanted: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def run(self, key: str, order: dict[str, Any]) -> dict[str, Any]:
        """Runs one task to its end: the fields of a :class:`~experiments.fleet.task.Reply`.

        Raises :class:`Withdrawn` if it was ended because nobody wants it, or did not start.
        """
        if code_digest() != self._code:
            self._on_changed()
            raise Withdrawn("the code on this machine has changed")
        unwanted = threading.Event()
        with self._lock:
            if self._is_closed:
                raise Withdrawn("this worker ends")
            self._unwanted[key] = unwanted
        folder = self._folder / key
        try:
            folder.mkdir(parents=True)
            return _run(folder, unwanted, order)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with self._lock:
                del self._unwanted[key]

    def withdraw(self, key: str) -> None:
        """Nobody wants that task's result. It is ended soon, if it runs."""
        with self._lock:
            if unwanted := self._unwanted.get(key):
                unwanted.set()

    def close(self) -> None:
        """Ends all tasks soon, and runs no more."""
        with self._lock:
            self._is_closed = True
            for unwanted in self._unwanted.values():
                unwanted.set()


def run_order(key: str, text: str) -> dict[str, Any]:
    """Runs a task on the worker that calls this; ``text``: the task as JSON."""
    from distributed import get_worker

    from experiments.fleet.dask_settings import FACTS

    runner: TaskRunner = get_worker().plugins[FACTS].runner
    return runner.run(key, json.loads(text))


def _run(
    folder: Path, unwanted: threading.Event, order: dict[str, Any]
) -> dict[str, Any]:
    files, log = folder / "files", folder / "log"
    deadline_s = float(order["deadline_s"])
    process = TaskProcess(order["program"], order["value"], files, log, deadline_s)
    reason = None
    try:
        while process.status is None and not process.is_overdue:
            if unwanted.wait(_POLL_S):
                raise Withdrawn("it was ended there")
        if process.status is None:
            reason = f"not done within {deadline_s:g} s"
    finally:
        end([process])
    ended_s = time.time()
    archive, digests = pack(files)
    return {
        "status": None if reason else process.status,
        "reason": reason,
        "started_s": process.started_s,
        "ended_s": ended_s,
        "log": log.read_bytes(),
        "archive": archive,
        "digests": digests,
    }
