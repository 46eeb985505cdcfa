"""The error of a cluster that failed to start or to change, with the end of a log."""

from __future__ import annotations

from pathlib import Path


class ClusterError(RuntimeError):
    """A cluster failed to start, or a change of it failed.

    The text gives the reason, then the end of a log or the remedy.
    """


def log_tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, with its path."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return "\n".join([f"the end of {log}:", *text.splitlines()[-lines:]])
