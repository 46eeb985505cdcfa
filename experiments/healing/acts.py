"""What the healer did: a file of JSON lines, one for each look at which it acted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from topologies.domain.connection import FourTuple, format_connection


def act(probes: int, destroyed: Iterable[tuple[str, FourTuple]]) -> str:
    """One line: ``time_s`` (CLOCK_REALTIME), the number of keepalives that were asked for,
    and node and connection of each end that was destroyed."""
    ends = [[node, format_connection(connection)] for node, connection in destroyed]
    entry = {"time_s": time.time(), "probes": probes, "destroyed": ends}
    return json.dumps(entry) + "\n"


def count_destroyed(path: Path) -> int:
    """How many ends the file tells of; 0 if it does not exist yet.

    A last line that is not whole is left out: the healer may have been killed.
    """
    if not path.exists():
        return 0
    lines = path.read_text().split("\n")[:-1]
    return sum(len(json.loads(line)["destroyed"]) for line in lines)
