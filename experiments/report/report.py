"""Makes the report of a folder."""

from __future__ import annotations

from pathlib import Path

from experiments.files.handover import chown_to_caller
from experiments.files.whole_file import write_whole
from experiments.report.data import NothingToReport, load_report
from experiments.report.page import page

__all__ = ["NothingToReport", "write_report"]


def write_report(folder: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` into the folder; the page's path.

    Only those are written: all else in the folder stays as it is. Raises
    :class:`NothingToReport`.
    """
    report = load_report(folder.resolve())
    figures = report.path / "figures"
    if figures.is_symlink():
        raise NothingToReport(f"{figures} is a link; remove it: plots are put there")
    text = page(report, figures)
    made = write_whole(report.path / "report.html", text.encode())
    chown_to_caller(made, figures)
    return made
