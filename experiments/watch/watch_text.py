"""The view in a terminal, redrawn in place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from experiments.display.render import console
from experiments.watch.feed import Feed, WatchEnding

#: Lines of the log, and of nodes at most; the busiest ones are shown.
_LOG_LINES = 8
_NODE_ROWS = 30


def watch_in_terminal(feed: Feed, ending: WatchEnding) -> None:
    """Draws that feed until ``ending``. Where it is no terminal, prints the last view."""
    out = console()
    if not out.is_terminal:
        views: deque[Mapping[str, Any]] = deque(maxlen=1)
        feed.run(views.append, ending)
        out.print(*map(drawn, views))
        return
    with Live(console=out, auto_refresh=False) as live:
        feed.run(lambda view: live.update(drawn(view), refresh=True), ending)


def drawn(view: Mapping[str, Any]) -> RenderableType:
    """One view."""
    if "cluster" not in view:
        return f"[yellow]{view['phase']}[/]: {escape(view['message'])}"
    parts: list[RenderableType] = [_head(view), _nodes(view), _clients(view)]
    parts += [_chassis(view), *_latest(view), *_log(view), _cost(view)]
    return Group(*parts)


def shown(value: float | None, digits: int = 0) -> str:
    """A number; a dash where it is not known."""
    return "–" if value is None else f"{value:.{digits}f}"


def _head(view: Mapping[str, Any]) -> str:
    cluster = view["cluster"]
    healing = "healing" if cluster["healing"] else "no healing"
    about = (
        f"{cluster['policy']}, {cluster['balancer']}, {cluster['workload']}, "
        f"guard {cluster['guard']}, {healing}"
    )
    in_sync = view["fabric"]["in_sync"]
    fabric = "" if in_sync else " [red]fabric NOT in sync[/]"
    return f"[bold]{escape(cluster['name'])}[/]: {escape(view['message'])}; {about}{fabric}"


def _nodes(view: Mapping[str, Any]) -> Table:
    names = ("established", "moved", "half-open", "strays", "/s", "copies", "/s")
    table = _table("node", "state", *names)
    nodes = view["nodes"]
    if len(nodes) > _NODE_ROWS:
        nodes = sorted(nodes, key=_interest, reverse=True)[:_NODE_ROWS]
        table.caption = (
            f"the {_NODE_ROWS} of {len(view['nodes'])} nodes with most to see"
        )
    for node in nodes:
        state = node["state"] if node["alive"] else "[red]no power[/]"
        table.add_row(node["name"], state, *_row(node))
    table.add_section()
    table.add_row("all", "", *_row(view["totals"]))
    return table


def _interest(node: Mapping[str, Any]) -> tuple[float, ...]:
    keys = ("moved", "half_open", "strays_per_s", "established")
    return tuple(node[key] or 0 for key in keys)


def _row(of: Mapping[str, Any]) -> list[str]:
    copies = "copies" if "copies" in of else "tier2_copies"
    moved, half_open = (
        f"[yellow]{of[key]}[/]" if of[key] else shown(of[key])
        for key in ("moved", "half_open")
    )
    return [
        *(shown(of["established"]), moved, half_open),
        *(shown(of["strays"]), shown(of["strays_per_s"], 1)),
        *(shown(of[copies]), shown(of[f"{copies}_per_s"], 1)),
    ]


def _chassis(view: Mapping[str, Any]) -> str:
    return "tier-1 copies: " + ", ".join(
        f"{one['name']} {shown(one['copies'])} ({shown(one['copies_per_s'], 1)}/s)"
        + ("" if one["uplink"] and one["alive"] else " [red]not reachable[/]")
        for one in view["chassis"]
    )


def _clients(view: Mapping[str, Any]) -> str:
    return "clients: " + ", ".join(
        f"{one['name']} {shown(one['established'])} established, {one['resets']} reset"
        for one in view["clients"]
    )


def _latest(view: Mapping[str, Any]) -> list[str]:
    reset = view["latest_reset"]
    if reset is None:
        return []
    if reset["owner"] is None:
        end = "no node held it"
    elif reset["owner_freed_ms"] is None:
        end = f"{reset['owner']} still held it"
    else:
        later = reset["owner_freed_ms"] - reset["client_reset_ms"]
        end = f"{reset['owner']} freed it {abs(later):.2f} ms {'later' if later >= 0 else 'before'}"
    return [f"latest reset: {reset['client']}, at {_clock(reset['t'])}; {end}"]


def _log(view: Mapping[str, Any]) -> list[str]:
    lines = []
    for line in view["log"][-_LOG_LINES:]:
        text = f"{_clock(line['t'])}  {escape(line['text'])}"
        lines.append(f"[yellow]{text}[/]" if line["level"] == "warning" else text)
    return lines


def _cost(view: Mapping[str, Any]) -> str:
    cost = view["cost"]
    if cost["cluster_core_percent"] is None:
        return "[dim]cost: not yet known[/]"
    return (
        f"[dim]cost: {cost['cluster_core_percent']:.1f}% of a core in the cluster, "
        f"{cost['watch_core_percent']:.1f}% here, over {cost['over_s']:.0f} s[/]"
    )


def _clock(t: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(t))


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right")
    return table
