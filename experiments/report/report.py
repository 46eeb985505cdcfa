"""Writes the report of a folder."""

from __future__ import annotations

from pathlib import Path

from experiments.files.handover import chown_to_caller
from experiments.files.whole_file import write_whole
from experiments.report.data import NothingToReport, load_report
from experiments.report.page import page

__all__ = ["NothingToReport", "write_report"]


def write_report(folder: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` into the folder; returns the page's path.

    Nothing else in the folder changes. Raises :class:`NothingToReport`.
    """
    report = load_report(folder.resolve())
    figures = report.path / "figures"
    if figures.is_symlink():
        raise NothingToReport(
            f"{figures} is a link; remove it: it is the folder for the plots"
        )
    text = page(report, figures)
    path = write_whole(report.path / "report.html", text.encode())
    chown_to_caller(path, figures)
    return path
