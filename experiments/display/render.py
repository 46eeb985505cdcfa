"""Terminal output: the results of runs, the status of a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.verdict.expectations import look_up

#: Rows of the comparison: title, and key of a run's summary.
FIGURES: tuple[tuple[str, str], ...] = (
    ("connections opened", "connections.opened"),
    ("connections moved", "connections.moved"),
    ("clients reset", "connections.reset"),
    ("clients hung", "connections.hung"),
    ("moved, silent until the end", "connections.silent"),
    ("unmoved connections disturbed", "connections.broken_unmoved"),
    ("unmoved kept waiting, max before", "waiting_unmoved_ms.before.max"),
    ("unmoved kept waiting, p50", "waiting_unmoved_ms.after.p50"),
    ("unmoved kept waiting, p99", "waiting_unmoved_ms.after.p99"),
    ("unmoved kept waiting, max", "waiting_unmoved_ms.after.max"),
    ("half-open left on nodes", "half_open.at_end"),
    ("half-open left, silent", "half_open.silent"),
    ("half-open lifetime, p50", "half_open.lifetime_ms.p50"),
    ("half-open lifetime, max", "half_open.lifetime_ms.max"),
    ("reset latency, p50", "reset_latency_ms.p50"),
    ("reset latency, max", "reset_latency_ms.max"),
    ("wait for one's own lock, p50", "harm.own_lock.wait_ms.p50"),
    ("wait for one's own lock, max", "harm.own_lock.wait_ms.max"),
    ("still wait for their own lock", "harm.own_lock.still_waiting"),
    ("locks of nobody, peak", "harm.locks_of_nobody.peak"),
    ("locks of nobody at the end", "harm.locks_of_nobody.at_end"),
    ("slots of nobody at the end", "harm.slots.held_by_nobody"),
    ("clients that do not get back in", "harm.slots.without_connection"),
    ("stray segments", "packets.stray"),
    ("fan-out copies, tier 1 / tier 2", "packets"),
    ("acknowledged writes", "data.acknowledged_writes"),
    ("acknowledged writes lost", "data.lost_writes"),
)

#: At most so many connections that were disturbed are shown.
_MAX_DISTURBED = 5
#: At most so many disagreements of the instruments are shown; ``summary.json`` has all.
_MAX_DISAGREEMENTS = 5


def console() -> Console:
    """Standard output; plain text if it is no terminal."""
    return Console(highlight=False, soft_wrap=False)


def read_summary(folder: Path) -> dict[str, Any]:
    """``summary.json`` of a run's folder."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def print_run(folder: Path) -> None:
    """Figures, claim chart and expectations of one run, if it has a summary."""
    if not (folder / "summary.json").exists():
        console().print(f"no summary; the other files are in {folder}", markup=False)
        return
    summary = read_summary(folder)
    out = console()
    out.print(comparison([summary]))
    out.print(claim_table(summary))
    print_verdict(summary)
    out.print(f"results: {folder}", soft_wrap=True)


def print_verdict(summary: Mapping[str, Any]) -> None:
    """Everything of a run that is not as expected, unreliable or not judged."""
    out, policy = console(), summary["policy"]
    for reason in summary["measurement"]["reasons"]:
        out.print(f"[yellow]cannot be trusted[/], {policy}: {escape(reason)}")
    for result in summary["expectations"]:
        if not result["met"]:
            out.print(
                f"[red]NOT as expected[/] with {policy}: {result['key']} is "
                f"{result['found']}, expected {result['condition']}"
            )
    unmet = {result["key"] for result in summary["expectations"] if not result["met"]}
    if "connections.broken_unmoved" in unmet:
        for text in summary.get("disturbed", ())[:_MAX_DISTURBED]:
            out.print(f"[red]disturbed[/] with {policy}: {escape(text)}")
    for text in summary["measurement"]["disagreements"][:_MAX_DISAGREEMENTS]:
        out.print(f"[red]NOT agreed[/] with {policy}: {escape(text)}")
    for why in dict.fromkeys(one["why"] for one in summary["not_judged"]):
        keys = [one["key"] for one in summary["not_judged"] if one["why"] == why]
        out.print(f"[yellow]not judged[/] with {policy}: {why}: {', '.join(keys)}")


def comparison(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """One column for each run, one row for each figure."""
    first = summaries[0]
    table = Table(
        title=f"{first['scenario']}, seed {first['seed']}, {first['balancer']}, "
        f"{first['datapath']['name']} datapath",
        title_justify="left",
    )
    table.add_column("")
    for summary in summaries:
        table.add_column(summary["policy"], justify="right")
    rows = [row for row in FIGURES if _has(summaries, row[1])]
    for title, key in rows:
        table.add_row(title, *(figure(summary, key) for summary in summaries))
    return table


def _has(summaries: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether all have it: only some workloads have locks, or slots."""
    room, _, part = key.partition(".")
    if room != "harm":
        return True
    return all(part.split(".")[0] in (one.get(room) or {}) for one in summaries)


def figure(summary: Mapping[str, Any], key: str) -> str:
    """One figure as text. A lifetime that has not ended is marked ≥."""
    value = look_up(summary, key)
    if key == "packets":
        return f"{value['tier1_copies']} / {value['tier2_copies']}"
    if value is None:
        return "–"
    if "_ms." not in key:
        return str(value)
    return ("≥ " if _censored(summary, key) else "") + milliseconds(value)


def _censored(summary: Mapping[str, Any], key: str) -> bool:
    """Whether the lifetime at ``key`` is a lower bound."""
    if not key.startswith("half_open.lifetime_ms."):
        return False
    left, count = summary["half_open"]["at_end"], summary["half_open"]["count"]
    share = {"p50": 0.5, "p99": 0.99, "max": 1.0}[key.rpartition(".")[2]]
    return bool(left and count - left < share * count)


def milliseconds(value: float) -> str:
    """A duration with three significant digits, in ms or s."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.3g} ms"


def claim_table(summary: Mapping[str, Any]) -> Table:
    """The claim chart: each element, whether it passed, and the evidence."""
    table = Table(title=f"claim chart, {summary['policy']}", title_justify="left")
    table.add_column("element")
    table.add_column("passed")
    table.add_column("evidence", overflow="fold")
    for row in summary["claim"]:
        verdict = "[green]yes[/]" if row["passed"] else "[red]no[/]"
        table.add_row(row["element"], verdict, escape(str(row["evidence"])))
    return table


def print_status(status: Mapping[str, Any]) -> None:
    """The status of a cluster: nodes, switches, counters."""
    out = console()
    out.print(
        f"{status['name']}: VIP {status['vip']['ipv4']} and {status['vip']['ipv6']}, "
        f"{status['balancer']}, {status['policy']}, guard {status['guard']}, "
        f"datapath {status['datapath']}"
    )
    table = Table("node", "state", "alive", "established")
    for name, node in status["nodes"].items():
        alive = "yes" if node["alive"] else "no"
        table.add_row(name, node["state"], alive, str(node["established"]))
    out.print(table)
    hosts = {**{one["name"]: one for one in status["clients"]}, **status["nodes"]}
    for name, host in hosts.items():
        if shaped := [
            f"{key} {value:g}" for key, value in host["link"].items() if value
        ]:
            out.print(f"link {name}: {', '.join(shaped)}")
    switches = {"fabric": status["fabric"], **status["chassis"]}
    for name, switch in switches.items():
        state = "in sync" if switch.get("in_sync") else "NOT in sync"
        out.print(f"switch {name}: {state}, {switch.get('entries', 0)} entries")
    counters = (
        f"{key} {'unknown' if value is None else value}"
        for key, value in status["counters"].items()
    )
    out.print("packets: " + ", ".join(counters))
    for fault in status["faults"]:
        out.print(f"[red]fault:[/] {escape(fault)}")
