"""Computes our figures for published rows, and holds them against the tolerances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from experiments.published.computed import COMPUTED
from experiments.published.published_rows import Figure, Row

#: Told which row, and how much of how much of it is done.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checked:
    """A row with our figures, by the figures' names."""

    row: Row
    ours: Mapping[str, float]

    @property
    def failed(self) -> list[Figure]:
        """The figures that are out of their tolerance."""
        return [one for one in self.row.figures if not one.holds(self.ours[one.name])]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        figures = [
            {
                "name": one.name,
                "published": one.published,
                "ours": self.ours[one.name],
                "tolerance": one.tolerance,
                "holds": one.holds(self.ours[one.name]),
            }
            for one in self.row.figures
        ]
        about = self.row.model_dump(include={"name", "source", "setup", "unit", "why"})
        return {**about, "figures": figures}


def check_rows(
    rows: Sequence[Row], report: Report = lambda _row, _done, _all: None
) -> Iterator[Checked]:
    """Each row as soon as it is computed. Raises :class:`LookupError` for a row that
    nothing computes, or for a figure that its computation does not have."""
    for row in rows:
        if row.name not in COMPUTED:
            raise LookupError(f"{row.name}: nothing computes it; see computed.py")

        def progress(done: int, whole: int, name: str = row.name) -> None:
            report(name, done, whole)

        ours = COMPUTED[row.name](progress)
        missing = [one.name for one in row.figures if one.name not in ours]
        if missing:
            raise LookupError(f"{row.name}: no figure {missing[0]!r}")
        yield Checked(row, ours)


def table_of(checked: Sequence[Checked]) -> Table:
    """What is published, ours, and the tolerance, for a terminal."""
    table = Table(title="Published and ours")
    for heading in ("row", "figure", "published", "ours", "tolerance", ""):
        table.add_column(heading, overflow="fold")
    for one in checked:
        for position, figure in enumerate(one.row.figures):
            ours = one.ours[figure.name]
            published = figure.published
            table.add_row(
                "" if position else one.row.name,
                figure.name,
                "–" if published is None else f"{published:.4g}",
                f"{ours:.4g}",
                figure.tolerance,
                "ok" if figure.holds(ours) else "OUT",
                end_section=figure is one.row.figures[-1],
            )
    return table
