"""The benchmark's results as a table, ratios first."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from experiments.bench.basis.figure import Line
from experiments.bench.bench import BenchResult
from experiments.display.render import console


def print_result(result: BenchResult) -> None:
    """Print a table with remarks for each datapath, then unreliable figures and errors."""
    out = console()
    every = [line for lines in result.lines.values() for line in lines]
    for datapath in dict.fromkeys(line.datapath for line in every):
        out.print(_table(result, datapath))
        for line in every:
            if line.datapath == datapath:
                _print_remarks(line)
    for name, why in result.doubts.items():
        for reason in why:
            out.print(f"[yellow]unreliable[/] {name}: {escape(reason)}")
    for error in result.errors:
        out.print(f"[red]failed[/] {escape(error)}")


def _table(result: BenchResult, datapath: str) -> Table:
    """Ours and the references, all on that datapath."""
    table = Table(title=f"benchmark, {datapath} datapath", title_justify="left")
    for heading in ("ratio", "must be", "", "figure", "ours", "reference"):
        right = heading in ("ratio", "ours", "reference")
        table.add_column(heading, justify="right" if right else "left")
    for name, lines in result.lines.items():
        for line in lines:
            if line.datapath == datapath:
                table.add_row(*_row(line, bool(result.doubts[name])))
    return table


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def _row(line: Line, doubtful: bool) -> list[str]:
    has_reference = line.reference is not None
    ratio = "" if line.value is None else number(line.value)
    verdict = {True: "[green]reached[/]", False: "[red]NOT reached[/]", None: ""}
    mark = " [yellow]unreliable[/]" if doubtful else ""
    return [
        f"{ratio} x" if has_reference else ratio,
        line.bound,
        verdict[line.met] + mark,
        escape(line.title),
        _with_unit(line.ours, line.unit),
        _with_unit(line.reference, line.unit) if line.reference is not None else "",
    ]


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def _print_remarks(line: Line) -> None:
    remarks = [f"against {line.reference_is}"] if line.reference_is else []
    for remark in (*remarks, *line.remarks):
        console().print(f"  {escape(line.title)}: {escape(remark)}", style="dim")
