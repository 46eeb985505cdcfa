"""Makes the report of a folder."""

from __future__ import annotations

from pathlib import Path

from experiments.cluster.launch import give_to_caller
from experiments.report.data import NothingToReport, load_report
from experiments.report.page import page

__all__ = ["NothingToReport", "write_report"]


def write_report(folder: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` into the folder; the page's path.

    Only those are written: all else in the folder stays as it is. Raises
    :class:`NothingToReport`.
    """
    report = load_report(folder.resolve())
    text = page(report, report.path / "figures")
    scratch = report.path / ".report.html"
    scratch.write_text(text, encoding="utf-8")
    made = scratch.replace(report.path / "report.html")
    give_to_caller(report.path)
    return made
