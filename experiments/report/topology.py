"""The cluster before and after a run's events: each node, its state, its connections."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from controller.pipeline.cluster_state import ClusterState
from experiments.report.canvas import NARROW, WIDE, Draw
from experiments.report.theme import light
from experiments.results.run_folder import ConnectionRow, RunFolder
from topologies.domain.membership import NodeState
from topologies.domain.plan import Chassis, Node

IN_SERVICE, DRAINED, FAILED, NEW = "in service", "drained", "failed", "new"
CUT_OFF = "cut off"
ABSENT = "not there yet"

_STATE_TEXTS = {
    NodeState.IN_SERVICE: IN_SERVICE,
    NodeState.DRAINED: DRAINED,
    NodeState.FAILED: FAILED,
}


class NodeView(NamedTuple):
    """One node at one time, with its served and its half-open connections."""

    name: str
    chassis: str
    state: str
    serving: int
    half_open: int


class NodeChange(NamedTuple):
    """One node before the first event and at the end of the observation."""

    before: NodeView
    after: NodeView


def changes(folder: RunFolder) -> list[NodeChange]:
    """Every node of the final cluster, in the plan's order."""
    first, last = folder.states[0], folder.states[-1]
    old = {node.name for node in first.plan.nodes}
    return [
        NodeChange(
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
    rows = [row for row in folder.rows if row.fields["owner"] == node.name]
    if not after:
        word = _state(state, chassis, node) if node.name in old else ABSENT
        events = folder.summary["events"]
        start = events[0]["requested_s"] if events else float("inf")
        count = sum(_open_at(row, start) for row in rows)
        return NodeView(node.name, chassis.name, word, count, 0)
    word = _state(state, chassis, node)
    if word == IN_SERVICE and node.name not in old:
        word = NEW
    kept = sum(bool(row.half_open and row.half_open.censored) for row in rows)
    serving = 0 if word == FAILED else sum(map(_served_at_end, rows))
    return NodeView(node.name, chassis.name, word, serving, kept)


def _state(state: ClusterState, chassis: Chassis, node: Node) -> str:
    if chassis.name in state.membership.failed_chassis:
        return FAILED
    if chassis.name in state.membership.cut_off_chassis and node in (
        state.membership.powered_nodes(chassis)
    ):
        return CUT_OFF
    return _STATE_TEXTS[state.membership.state(node)]


def _open_at(row: ConnectionRow, time_s: float) -> bool:
    reset = row.fields["reset_s"]
    return row.fields["opened_s"] < time_s and (reset is None or reset > time_s)


def _served_at_end(row: ConnectionRow) -> bool:
    return not (row.fields["reset_s"] or row.fields["hung"] or row.half_open)


def drawing(nodes: list[NodeChange]) -> Draw:
    """Draws both states: fabric on top, a column for each chassis, a box for each node.

    The size of the text does not depend on the size of the cluster. If columns would be
    too narrow, one state is drawn below the other, and the chassis in several bands, each
    with its own fabric.
    """

    def draw(figure: Figure, narrow: bool) -> None:
        chassis = list(dict.fromkeys(node.after.chassis for node in nodes))
        beside = not narrow and len(chassis) <= _BESIDE
        bands = _bands(chassis, _MAX_NARROW if narrow else _MAX_WIDE)
        width = (NARROW if narrow else WIDE) / (2 if beside else 1)
        panels = [
            _Panel(title, [v for v in views if v.chassis in band], band, len(bands[0]))
            for title, views in (
                ("before the first event", [n.before for n in nodes]),
                ("at the end of the observation", [n.after for n in nodes]),
            )
            for band in bands
        ]
        heights = [panel.height for panel in panels]
        rows = [max(heights)] if beside else heights
        figure.set_figheight(sum(rows) + _TITLE_INCHES * len(rows))
        axes = figure.subplots(
            *((1, len(panels)) if beside else (len(panels), 1)),
            squeeze=False,
            height_ratios=rows,
        )
        for place, panel in zip(axes.flat, panels, strict=True):
            _draw(place, panel, width, rows[0] if beside else panel.height)

    return draw


#: The maximum of chassis for both states in one row; the maximum of chassis in a band.
_BESIDE, _MAX_WIDE, _MAX_NARROW = 4, 10, 5
#: Inches: a panel's title, the fabric and chassis above the nodes, a node's row, and
#: the row's growth where a node has a second line.
_TITLE_INCHES, _HEAD_INCHES, _ROW_INCHES, _LINE_INCHES = 0.3, 0.78, 0.27, 0.13
#: Points: of text, and of a column that has room for whole names.
_TEXT, _SMALL, _ROOMY = 7.5, 6.3, 100.0


class _Panel(NamedTuple):
    """A band of chassis in one state. ``columns``: of the widest band."""

    title: str
    views: list[NodeView]
    chassis: list[str]
    columns: int

    @property
    def row(self) -> float:
        """Height of a node's row, in inches."""
        return _ROW_INCHES + any(map(_second_line, self.views)) * _LINE_INCHES

    @property
    def height(self) -> float:
        """Height of the panel without its title, in inches."""
        deepest = max(Counter(view.chassis for view in self.views).values())
        return _HEAD_INCHES + self.row * deepest


def _bands(chassis: list[str], maximum: int) -> list[list[str]]:
    """The chassis in bands of similar length, the longest first.

    >>> _bands(["c1", "c2", "c3", "c4", "c5"], 3)
    [['c1', 'c2', 'c3'], ['c4', 'c5']]
    """
    count = -(-len(chassis) // maximum)
    size = -(-len(chassis) // count)
    return [chassis[at : at + size] for at in range(0, len(chassis), size)]


def _second_line(view: NodeView) -> str:
    """The second line in a node's box: half-open connections, otherwise its state."""
    if view.half_open:
        return f"{view.half_open} half open"
    return "" if view.state in (IN_SERVICE, ABSENT) else view.state


def _draw(place: Axes, panel: _Panel, inches: float, height: float) -> None:
    place.set_title(panel.title)
    place.axis("off")
    place.set_xlim(0, panel.columns)
    place.set_ylim(height, 0)
    middle = len(panel.chassis) / 2
    width = inches / panel.columns * _POINTS
    _box(place, middle, 0.14, min(1.0, len(panel.chassis) * 0.4), "fabric", "edge")
    for at, name in enumerate(panel.chassis):
        nodes = [view for view in panel.views if view.chassis == name]
        role = "rule" if all(view.state == ABSENT for view in nodes) else "edge"
        place.plot([middle, at + 0.5], [0.27, 0.49], color=light(role), linewidth=1)
        _box(place, at + 0.5, 0.62, 0.5, name, role)
        for row, view in enumerate(nodes):
            top = _HEAD_INCHES + row * panel.row
            _node(place, at + 0.5, top, panel.row, view, roomy=width >= _ROOMY)


_POINTS = 72  # in an inch

_STYLES = {
    IN_SERVICE: ("edge", "-", 1.0),
    NEW: ("good", "-", 2.0),
    DRAINED: ("stray", (0, (3, 2)), 1.4),
    CUT_OFF: ("stray", (0, (1, 1)), 1.4),
    FAILED: ("bad", (0, (1, 1)), 1.4),
    ABSENT: ("rule", (0, (1, 2)), 1.0),
}


def _node(
    place: Axes, x: float, top: float, height: float, view: NodeView, *, roomy: bool
) -> None:
    role, dashes, width = _STYLES[view.state]
    faded, second = view.state == ABSENT, _second_line(view)
    place.add_patch(
        FancyBboxPatch(
            (x - 0.43, top + 0.03),
            0.86,
            height - 0.06,
            boxstyle="round,pad=0,rounding_size=0.04",
            facecolor=light("panel"),
            edgecolor=light(role),
            linestyle=dashes,
            linewidth=width,
        )
    )
    text = partial(place.text, va="center", fontsize=_TEXT)
    first = top + (height - (_LINE_INCHES if second else 0)) / 2
    ink = light("faint" if faded else "ink")
    name = view.name if roomy else view.name.removeprefix(view.chassis)
    text(x - 0.38, first, name, weight="bold", color=ink)
    if not faded and view.state != FAILED:
        text(x + 0.38, first, f"{view.serving}", ha="right", color=light("faint"))
    elif faded and roomy:
        text(x + 0.38, first, ABSENT, ha="right", color=light("faint"))
    if second:
        if roomy and view.half_open and view.state != IN_SERVICE:
            second = f"{view.state}, {second}"
        colour = light("reset" if view.half_open else role)
        weight = "bold" if roomy and view.half_open else "normal"
        below = first + _LINE_INCHES
        text(x - 0.38, below, second, fontsize=_SMALL, weight=weight, color=colour)


def _box(place: Axes, x: float, y: float, width: float, text: str, role: str) -> None:
    place.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.12),
            width,
            0.24,
            boxstyle="round,pad=0,rounding_size=0.04",
            facecolor=light("paper"),
            edgecolor=light(role),
            linewidth=1,
        )
    )
    place.text(x, y, text, ha="center", va="center", fontsize=_TEXT)
