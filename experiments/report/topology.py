"""The cluster before and after a run's events: every node, its state, what it holds."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from controller.membership import NodeState
from controller.state import ClusterState
from experiments.report.canvas import Draw
from experiments.report.theme import light
from experiments.sweep.run_folder import Row, RunFolder
from topologies.plan import Chassis, Node

IN_SERVICE, DRAINED, FAILED, NEW = "in service", "drained", "failed", "new"
ABSENT = "not there yet"

_WORDS = {
    NodeState.IN_SERVICE: IN_SERVICE,
    NodeState.DRAINED: DRAINED,
    NodeState.FAILED: FAILED,
}


class NodeView(NamedTuple):
    """One node at one time: connections it serves, and those half open on it."""

    name: str
    chassis: str
    state: str
    serving: int
    half_open: int


class Change(NamedTuple):
    """One node before the first event and at the end of the observation."""

    before: NodeView
    after: NodeView


def changes(folder: RunFolder) -> list[Change]:
    """Every node of the cluster as it was at the end, in the plan's order."""
    first, last = folder.states[0], folder.states[-1]
    old = {node.name for node in first.plan.nodes}
    return [
        Change(
            _view(first, chassis, node, folder, old, after=False),
            _view(last, chassis, node, folder, old, after=True),
        )
        for chassis in last.plan.chassis
        for node in chassis.nodes
    ]


def _view(
    state: ClusterState,
    chassis: Chassis,
    node: Node,
    folder: RunFolder,
    old: set[str],
    *,
    after: bool,
) -> NodeView:
    mine = [row for row in folder.rows if row.said["owner"] == node.name]
    if not after:
        word = _state(state, chassis, node) if node.name in old else ABSENT
        events = folder.summary["events"]
        start = events[0]["requested_s"] if events else float("inf")
        count = sum(_open_at(row, start) for row in mine)
        return NodeView(node.name, chassis.name, word, count, 0)
    word = _state(state, chassis, node)
    if word == IN_SERVICE and node.name not in old:
        word = NEW
    kept = sum(bool(row.half_open and row.half_open.censored) for row in mine)
    serving = 0 if word == FAILED else sum(map(_served_at_end, mine))
    return NodeView(node.name, chassis.name, word, serving, kept)


def _state(state: ClusterState, chassis: Chassis, node: Node) -> str:
    if chassis.name in state.membership.failed_chassis:
        return FAILED
    return _WORDS[state.membership.state(node)]


def _open_at(row: Row, time_s: float) -> bool:
    reset = row.said["reset_s"]
    return row.said["opened_s"] < time_s and (reset is None or reset > time_s)


def _served_at_end(row: Row) -> bool:
    return not (row.said["reset_s"] or row.said["hung"] or row.half_open)


def drawing(nodes: list[Change]) -> Draw:
    """Draws both states: fabric above, a column for each chassis, a box for each node."""

    def draw(figure: Figure, narrow: bool) -> None:
        deepest = max(_depth(nodes, chassis) for chassis in _chassis(nodes))
        height = 1.05 + 0.47 * deepest
        figure.set_figheight(height * (2 if narrow else 1) + 0.2)
        panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        for panel, title, views in zip(
            panels,
            ("before the first event", "at the end of the observation"),
            ([n.before for n in nodes], [n.after for n in nodes]),
            strict=True,
        ):
            _panel(panel, title, views, deepest)

    return draw


def _chassis(nodes: list[Change]) -> list[str]:
    return list(dict.fromkeys(node.after.chassis for node in nodes))


def _depth(nodes: list[Change], chassis: str) -> int:
    return sum(node.after.chassis == chassis for node in nodes)


def _panel(panel: Axes, title: str, views: list[NodeView], deepest: int) -> None:
    chassis = list(dict.fromkeys(view.chassis for view in views))
    panel.set_title(title)
    panel.axis("off")
    panel.set_xlim(0, len(chassis))
    panel.set_ylim(deepest + 1.75, -0.1)
    size = max(3.5, min(8.0, 17.0 / len(chassis)))
    middle = len(chassis) / 2
    _box(
        panel, middle, 0.3, min(1.0, len(chassis) * 0.4), "fabric", light("edge"), size
    )
    for at, name in enumerate(chassis):
        mine = [view for view in views if view.chassis == name]
        gone = all(view.state == ABSENT for view in mine)
        colour = light("rule" if gone else "edge")
        panel.plot([middle, at + 0.5], [0.6, 0.95], color=colour, linewidth=1)
        _box(panel, at + 0.5, 1.2, 0.5, name, colour, size)
        for row, view in enumerate(mine):
            _node(panel, at + 0.5, row + 2.1, view, size)


_LOOKS = {
    IN_SERVICE: ("edge", "-", 1.0),
    NEW: ("good", "-", 2.0),
    DRAINED: ("stray", (0, (3, 2)), 1.4),
    FAILED: ("bad", (0, (1, 1)), 1.4),
    ABSENT: ("rule", (0, (1, 2)), 1.0),
}


def _node(panel: Axes, x: float, y: float, view: NodeView, size: float) -> None:
    role, dashes, width = _LOOKS[view.state]
    panel.add_patch(
        FancyBboxPatch(
            (x - 0.43, y - 0.33),
            0.86,
            0.66,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=light("panel"),
            edgecolor=light(role),
            linestyle=dashes,
            linewidth=width,
        )
    )
    faded = view.state == ABSENT
    panel.text(
        x - 0.38,
        y,
        view.name,
        va="center",
        fontsize=size,
        weight="bold",
        color=light("faint" if faded else "ink"),
    )
    words = [] if view.state == IN_SERVICE else [view.state]
    if not faded and view.state != FAILED:
        words.append(f"{view.serving}")
    line = " · ".join(words)
    panel.text(
        x + 0.38,
        y - (0.14 if view.half_open else 0),
        line,
        ha="right",
        va="center",
        fontsize=size,
        color=light("faint" if role in ("edge", "rule") else role),
    )
    if view.half_open:
        panel.text(
            x + 0.38,
            y + 0.17,
            f"{view.half_open} half open",
            ha="right",
            va="center",
            fontsize=size * 0.95,
            color=light("reset"),
            weight="bold",
        )


def _box(
    panel: Axes, x: float, y: float, width: float, text: str, colour: str, size: float
) -> None:
    panel.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.26),
            width,
            0.52,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=light("paper"),
            edgecolor=colour,
            linewidth=1,
        )
    )
    panel.text(x, y, text, ha="center", va="center", fontsize=size)
