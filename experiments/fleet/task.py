"""What runs on a machine: a program that makes files from a JSON value; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One unit of work. It is a function of ``value``, and its result are files.

    ``name``: unique, and fit for the name of a file. ``group``: tasks of one group are
    compared with each other, and so stay on one machine. ``program``: a module, run as
    ``python -m PROGRAM FOLDER`` with ``value`` as JSON on its standard input; what it leaves
    in the folder is the result. ``deadline_s``: seconds after which it is ended.
    """

    name: str
    group: str
    program: str
    value: Any
    deadline_s: float


@dataclass(frozen=True)
class Reply:
    """What came of a task on a machine. Times are CLOCK_REALTIME seconds of that machine.

    ``status``: the program's exit status; None if it was ended, and ``reason`` says why.
    ``log``: its output. ``archive``: its files (:mod:`experiments.fleet.parcel`).
    ``digests``: path of each file -> its SHA-256.
    """

    status: int | None
    reason: str | None
    started_s: float
    ended_s: float
    log: bytes
    archive: bytes
    digests: dict[str, str]
