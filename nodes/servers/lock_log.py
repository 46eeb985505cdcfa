"""The log of a lock monitor: who holds locks, look after look, as JSON lines.

Each line: ``t`` (seconds, CLOCK_REALTIME), ``sessions`` and ``holders``: the clients' ends
of all sessions that the servers keep, and of those that hold a lock, as ``HOST:PORT``, and
``waiting``: how many sessions wait for a lock. What a server believes is all that it shows:
whether a client is still there must be known from elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: Of the log, in the folder of the hosts' output.
LOCK_LOG = "locks.jsonl"
#: Pause between two looks, in seconds.
INTERVAL_S = 0.05


@dataclass(frozen=True)
class LockSample:
    """One look."""

    t: float
    sessions: tuple[str, ...]
    holders: tuple[str, ...]
    waiting: int

    def to_json(self) -> str:
        """One line of the log, with its end."""
        return json.dumps(asdict(self)) + "\n"


def read_lock_log(path: Path) -> list[LockSample]:
    """The looks in their order; none if there is no such file.

    An incomplete last line is left out: the monitor was killed while it wrote.
    """
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [
        LockSample(
            float(each["t"]),
            tuple(each["sessions"]),
            tuple(each["holders"]),
            int(each["waiting"]),
        )
        for each in map(json.loads, lines)
    ]
