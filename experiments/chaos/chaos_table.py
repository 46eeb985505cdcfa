"""What the terminal shows of a run of chaos."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from experiments.chaos.chaos_summary import ChaosSummary
from experiments.display.render import console


def print_chaos(summary: ChaosSummary) -> None:
    """The figures, then every violation."""
    out = console()
    table = Table("", "chaos", title=f"chaos: {summary.outcome}")
    for name, value in _rows(summary):
        table.add_row(name, value)
    out.print(table)
    for reason in summary.reasons:
        out.print(f"cannot be trusted: {reason}", markup=False)
    for one in summary.violations[:20]:
        text = f"{one.at_s:.3f} s: {one.invariant}: {one.text}"
        out.print(text, markup=False, soft_wrap=True)


def _rows(summary: ChaosSummary) -> Iterator[tuple[str, str]]:
    half_open, ends, data = summary.half_open, summary.connections, summary.data
    done, skipped = sum(summary.done.values()), sum(summary.skipped.values())
    yield "events done / skipped", f"{done} / {skipped} in {summary.duration_s:.0f} s"
    for name, count in summary.done.items():
        yield f"  {name}", str(count)
    yield "connections ended", str(ends.ended)
    yield "  moved / reset", f"{ends.moved} / {ends.reset}"
    yield "  unmoved, server killed", str(ends.excused)
    yield "half open, seen / unasked", f"{half_open.seen} / {half_open.unasked}"
    bound = "none" if half_open.bound_s is None else f"{half_open.bound_s:g} s"
    yield "half open, worst / bound", f"{half_open.worst_s:.2f} s / {bound}"
    yield (
        "writes acknowledged / open",
        f"{data.acknowledged_writes} / {data.open_writes}",
    )
    yield "  open ones that came late", str(data.late_writes)
    yield "longest without a program", f"{summary.programs.longest_missing_s:.1f} s"
    most = max(
        summary.programs.memory_kib.items(),
        key=lambda item: item[1][1],
        default=("", (0, 0)),
    )
    yield "most memory", f"{most[1][1] >> 10} MiB ({most[0]})"
    yield "violations", str(len(summary.violations))
