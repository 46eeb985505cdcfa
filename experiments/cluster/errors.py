"""How a cluster says that it could not do something: with the log that tells why."""

from __future__ import annotations

from pathlib import Path


class ClusterError(RuntimeError):
    """A cluster did not come up, or a change of it failed; the text says why, and ends
    with the log that tells more, or with what is left to do."""


def log_tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, with its path."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return "\n".join([f"the end of {log}:", *text.splitlines()[-lines:]])
