"""What a sweep has done so far: a file of JSON lines that is only ever appended to.

A run is done once its line is there. Each line is written by one ``write`` to a file
opened for appending, then forced to the disk: a kill leaves it whole, absent, or, if
the machine itself went down, torn; a torn line is no line, and the run is made again.
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

#: Outcomes: as expected; ran, but an expectation was not met; ran, but its measurement
#: cannot be trusted; did not come to figures.
MET, UNMET, UNTRUSTED = trust.AS_EXPECTED, trust.UNEXPECTED, trust.UNTRUSTED
FAILED = "failed"
#: Outcomes of runs whose figures are compared.
COMPARED = frozenset((MET, UNMET))


class SweepLocked(RuntimeError):
    """Another sweep is at work on the same folder."""


@dataclass(frozen=True)
class Record:
    """One run that has ended; times are CLOCK_REALTIME seconds.

    ``exit_status`` is the run's own, None where the sweep ended it. ``reason``: why it
    is not as expected. ``jobs``: how many were allowed at once.
    """

    run: str
    outcome: str
    exit_status: int | None
    reason: str | None
    started_s: float
    ended_s: float
    jobs: int

    @property
    def took_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.started_s


class StateFile:
    """The state file of one sweep, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or creates it. Raises :class:`SweepLocked` if another process has it."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # Not inherited by the runs: it must be free when the sweep has been killed.
            os.set_inheritable(self._fd, False)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise SweepLocked(
                f"{path.parent}: another sweep is at work there"
            ) from None

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._fd)

    def append(self, what: str, **details: Any) -> None:
        """One line, on the disk when this returns."""
        line = json.dumps({"what": what, **details}) + "\n"
        os.write(self._fd, (self._newline_if_torn() + line).encode())
        os.fsync(self._fd)

    def record(self, record: Record) -> None:
        """One run that has ended."""
        self.append("run", **asdict(record))

    def _newline_if_torn(self) -> str:
        """What must come first: a line's end, where the last line is torn."""
        size = os.fstat(self._fd).st_size
        return "\n" if size and os.pread(self._fd, 1, size - 1) != b"\n" else ""


def read_records(path: Path) -> dict[str, Record]:
    """Run -> its latest record; nothing where there is no state file yet."""
    return {
        line["run"]: Record(**{k: v for k, v in line.items() if k != "what"})
        for line in read_lines(path)
        if line["what"] == "run"
    }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a state file, oldest first."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # torn
        if isinstance(line, dict) and "what" in line:
            yield line
