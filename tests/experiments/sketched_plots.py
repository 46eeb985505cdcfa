"""Takes the place of a report's plots where their files are not looked at."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from experiments.report.canvas import WIDE, Draw, Plot


def sketched(name: str, title: str, what: str, draw: Draw, _files: Path) -> Plot:
    """As :func:`experiments.report.canvas.plot`: laid out, but neither SVG nor PDF.

    Those take most of a report's time, and have tests of their own.
    """
    figure = Figure(figsize=(WIDE, 3), layout="constrained")
    draw(figure, False)
    figure.draw_without_rendering()
    return Plot(name, title, what, "", "")
