"""The figures of a computation as a table: one column for each policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from experiments.display.render import milliseconds
from experiments.model.against import Agreement
from experiments.verdict.expectations import look_up


class Row(NamedTuple):
    """A figure: its key (one with ``_ms`` is a duration), its title, and a short one."""

    key: str
    title: str
    short: str


#: By group. With many policies each group is a table of its own.
GROUPS: dict[str, tuple[Row, ...]] = {
    "connections": (
        Row("connections.opened", "connections opened", "opened"),
        Row("connections.live.peak", "open at one time, peak", "open, peak"),
        Row("connections.moved", "moved", "moved"),
        Row("connections.inevitable", "of these, their node failed", "node failed"),
        Row("connections.reset", "clients reset", "reset"),
        Row("connections.hung", "clients hung at the end", "hung"),
        Row("hanging.count", "clients that hung, all", "hung, all"),
        Row("connections.silent", "moved, silent until the end", "silent"),
    ),
    "half-open": (
        Row("half_open.count", "half-open, all", "all"),
        Row("half_open.peak", "half-open at one time, peak", "peak"),
        Row("half_open.at_end", "half-open at the end", "at end"),
        Row("half_open.lifetime_ms.p50", "half-open lifetime, p50", "p50"),
        Row("half_open.lifetime_ms.p99", "half-open lifetime, p99", "p99"),
        Row("half_open.lifetime_ms.p999", "half-open lifetime, p99.9", "p99.9"),
        Row("half_open.lifetime_ms.max", "half-open lifetime, max", "max"),
    ),
    "packets, a second at the worst": (
        Row("packets.worst_s.strays", "strays in the worst second, /s", "strays"),
        Row("packets.worst_s.copies", "copies in the worst second, /s", "copies"),
        Row("packets.worst_s.copies_on_one_link", "on one link, /s", "on one link"),
        Row("connections.limited", "fan-outs refused by the budget", "refused, all"),
        Row("packets.tier1_copies", "copies, tier 1", "tier 1, all"),
        Row("packets.tier2_copies", "copies, tier 2", "tier 2, all"),
    ),
    "locks and slots": (
        Row("harm.locks_of_nobody.peak", "locks of nobody, peak", "nobody's locks"),
        Row("harm.locks_of_nobody.at_end", "locks of nobody at the end", "at end"),
        Row("harm.own_lock.wait_ms.p99", "wait for one's own lock, p99", "wait, p99"),
        Row("refused.peak", "refused for want of a slot, peak", "no slot"),
    ),
    "state, and balance": (
        Row("detours.peak", "on a detour at one time, peak", "detours"),
        Row("pins.entries.peak", "pinned entries, peak", "pins"),
        Row("pins.memory_mib", "their memory, MiB", "MiB"),
        Row("balance.node_max_over_mean.worst", "busiest node over mean", "balance"),
    ),
}
#: From here on figures are shortened: milliseconds, and counts.
_LONG_MS, _MANY = 100_000.0, 100_000
_UNITS = (("G", 10**9), ("M", 10**6), ("k", 10**3))
#: As many policies fit beside each other on a terminal.
_COLUMNS = 3


def figures_tables(summaries: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The figures that some policy has. Few policies: one table, a column each. Many: a
    table for each group, and a row each."""
    if len(summaries) <= _COLUMNS:
        table = _table(_title(summaries[0]), ["computed", *_policies(summaries)])
        for rows in GROUPS.values():
            for row, texts in _texts(rows, summaries, figure_text):
                table.add_row(row.title, *texts)
        return [table]
    tables = []
    for number, (group, rows) in enumerate(GROUPS.items()):
        texts_of = _texts(rows, summaries, short_text)
        title = group if number else f"{_title(summaries[0])}\n\n{group}"
        table = _table(title, ["policy", *(row.short for row, _ in texts_of)])
        columns = [texts for _, texts in texts_of]
        for policy, *texts in zip(_policies(summaries), *columns, strict=True):
            table.add_row(policy, *texts)
        tables.append(table)
    return tables


def _title(summary: Mapping[str, Any]) -> str:
    size, events = summary["cluster"], len(summary["events"])
    return (
        f"{summary['scenario']}: {size['nodes']:,} nodes in {size['chassis']:,} chassis, "
        f"{summary['balancer']}, changes: {events:,} in {summary['horizon_s']:g} s, "
        f"seed {summary['seed']}"
    )


def _policies(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [summary["policy"] for summary in summaries]


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        first = number == 0
        table.add_column(column, justify="left" if first else "right", no_wrap=first)
    return table


def _texts(
    rows: Sequence[Row],
    summaries: Sequence[Mapping[str, Any]],
    text: Callable[[str, float | None], str],
) -> list[tuple[Row, list[str]]]:
    """Each row that some policy has a value for, and the values as text."""
    found = []
    for row in rows:
        values = [look_up(summary, row.key) for summary in summaries]
        if any(value is not None for value in values):
            found.append((row, [text(row.key, value) for value in values]))
    return found


def figure_text(key: str, value: float | None) -> str:
    """A figure as text; a dash where there is none.

    >>> figure_text("half_open.peak", 1234567), figure_text("a_ms.max", 2500.0)
    ('1,234,567', '2.50 s')
    """
    if value is None:
        return "–"
    if "_ms." in key:
        return milliseconds(value)
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def short_text(key: str, value: float | None) -> str:
    """The same in seven characters at most.

    >>> short_text("half_open.peak", 1234567), short_text("a_ms.max", 594870.0)
    ('1.23M', '595 s')
    """
    if value is None or ("_ms." in key and value < _LONG_MS):
        return figure_text(key, value)
    if "_ms." in key:
        return f"{value / 1000:.0f} s"
    for unit, size in _UNITS:
        if value >= max(size, _MANY):
            return f"{value / size:.3g}{unit}"
    return figure_text(key, value)


def agreement_table(found: Agreement) -> Table:
    """The model beside a run, figure by figure."""
    table = Table(title=f"model and measurement, {found.policy}", title_justify="left")
    for name in ("figure", "computed", "measured", "agree"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    same = found.compared - len(found.differ)
    table.add_row(
        "connections that moved, each",
        *(f"{same:,}", f"{found.compared:,}"),
        _yes(not found.differ),
    )
    for key, computed, measured, agrees in found.lines:
        texts = figure_text(key, computed), figure_text(key, measured)
        table.add_row(key, *texts, _yes(agrees))
    if found.between:
        table.caption = (
            f"{found.between} connections began or ended during an event: not compared"
        )
    return table


def _yes(agrees: bool) -> str:
    return "[green]yes[/]" if agrees else "[red]no[/]"
