"""The state file of a sweep: JSON lines, append only.

A run is done when its line is there. Each line is written by one ``write`` in append mode
and then flushed to the disk. A killed sweep leaves a line complete or absent; a crash of
the machine can leave it incomplete. An incomplete line is ignored, and the run is
repeated.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.verdict import trust

#: Outcomes: as expected; an expectation was not met; the measurement cannot be trusted;
#: the run has no figures.
MET, UNMET, UNTRUSTED = trust.AS_EXPECTED, trust.UNEXPECTED, trust.UNTRUSTED
FAILED = "failed"
#: Outcomes of runs whose figures are compared.
COMPARED = frozenset((MET, UNMET))


class SweepLocked(RuntimeError):
    """Another sweep uses the same folder."""


@dataclass(frozen=True)
class Record:
    """One run that has ended. Times are CLOCK_REALTIME seconds.

    ``exit_status``: of the run, None if the sweep stopped it. ``reason``: why it is not as
    expected. ``jobs``: the maximum of parallel runs. ``machine``: the name of the machine
    that made it; None in state files of earlier versions.
    """

    run: str
    outcome: str
    exit_status: int | None
    reason: str | None
    started_s: float
    ended_s: float
    jobs: int
    machine: str | None = None

    @property
    def took_s(self) -> float:
        """The duration of the run, in seconds."""
        return self.ended_s - self.started_s


class StateFile:
    """The state file of one sweep, locked by one process."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file. Raises :class:`SweepLocked` if it is locked."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # Not inherited by the runs: the lock must end with the sweep.
            os.set_inheritable(self._fd, False)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise SweepLocked(
                f"{path.parent}: another sweep uses this folder"
            ) from None

    def close(self) -> None:
        """Closes the file and releases the lock."""
        os.close(self._fd)

    def append(self, what: str, **details: Any) -> None:
        """Appends one line. It is on the disk when this returns."""
        line = json.dumps({"what": what, **details}) + "\n"
        os.write(self._fd, (self._newline_if_torn() + line).encode())
        os.fsync(self._fd)

    def record(self, record: Record) -> None:
        """Appends a run that has ended."""
        self.append("run", **asdict(record))

    def _newline_if_torn(self) -> str:
        """A newline if the last line of the file is incomplete, otherwise nothing."""
        size = os.fstat(self._fd).st_size
        return "\n" if size and os.pread(self._fd, 1, size - 1) != b"\n" else ""


def read_records(path: Path) -> dict[str, Record]:
    """Run -> its latest record; empty if there is no state file yet."""
    return {
        line["run"]: Record(**{k: v for k, v in line.items() if k != "what"})
        for line in read_lines(path)
        if line["what"] == "run"
    }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every complete line of a state file, oldest first."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # incomplete
        if isinstance(line, dict) and "what" in line:
            yield line
