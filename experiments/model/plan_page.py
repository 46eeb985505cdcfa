"""A plan in words and one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.model.plan_decision import Choice, Limit, cheaper_by, chosen
from experiments.model.plan_words import figure_text

#: Figure and heading of each column.
_COLUMNS = (
    ("half_open_p99_s", "p99 s"),
    ("hung", "hung"),
    ("broken_per_event", "broken"),
    ("copies_per_s_on_one_link", "link/s"),
    ("pin_memory_mib", "pin MiB"),
    ("detours", "detour"),
    ("locks_of_nobody", "locks"),
)


def words(
    ranking: Sequence[Choice], limits: Sequence[Limit], memory_of_one: str
) -> list[str]:
    """The limits, the choice and its reason, and what remains at risk.

    ``memory_of_one``: what a half-open connection is taken to hold.
    """
    lines = ["limits:"]
    lines += [f"  {one.title}: {one.most:g} ({one.origin})" for one in limits]
    best = chosen(ranking)
    if best is None:
        closest = ranking[0]
        missed = ", ".join(f"limits.{one.key}" for one in closest.missed)
        return [
            *lines,
            f"No policy keeps all limits. {closest.policy} misses fewest: {missed}.",
        ]
    keep = sum(not one.missed for one in ranking)
    why = cheaper_by(ranking)
    lines.append(f"Choose {best.policy}: {keep} of {len(ranking)} keep all limits.")
    if why is not None:
        own, other = (figure_text(one.figures[why]) for one in ranking[:2])
        lines.append(f"Cheaper than {ranking[1].policy} in {why}: {own}, not {other}.")
    risks = ("inevitable", "half_open_at_end", "locks_of_nobody")
    kept = ", ".join(f"{key} {figure_text(best.figures[key])}" for key in risks)
    memory = figure_text(best.figures["half_open_memory_mib"])
    lines.append(
        f"At risk: {kept}; half-open at the peak hold {memory} MiB, {memory_of_one}."
    )
    if best.figures["half_open_at_end"]:
        lines.append(
            "What was still half-open at the end may last longer than computed."
        )
    return lines


def misses(ranking: Sequence[Choice]) -> list[str]:
    """A line for each policy that misses limits."""
    return [
        f"{one.policy} misses: {', '.join(limit.key for limit in one.missed)}"
        for one in ranking
        if one.missed
    ]


def ranking_table(ranking: Sequence[Choice]) -> Table:
    """Every policy, the best first, and how many limits it misses.

    By column: time half-open; clients that hang; those broken by the worst event; copies
    on one link in a second; memory of pins; connections on a detour; locks of nobody. A
    question mark: not computed.
    """
    table = Table(
        title="policies, the best first",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("policy", no_wrap=True)
    for _, title in _COLUMNS:
        table.add_column(title, justify="right")
    table.add_column("misses", justify="right")
    for one in ranking:
        texts = (figure_text(one.figures[key]) for key, _ in _COLUMNS)
        table.add_row(one.policy, *texts, str(len(one.missed) or "–"))
    return table


def to_json(ranking: Sequence[Choice], limits: Sequence[Limit]) -> dict[str, Any]:
    """One object."""
    best = chosen(ranking)
    return {
        "chosen": best.policy if best else None,
        "cheaper_by": cheaper_by(ranking) if best else None,
        "limits": [one._asdict() for one in limits],
        "ranking": [
            {
                "policy": one.policy,
                "missed": [limit.key for limit in one.missed],
                "figures": dict(one.figures),
            }
            for one in ranking
        ],
    }
