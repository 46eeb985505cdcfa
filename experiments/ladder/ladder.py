"""The ladder diagram of one connection's reset, as data: pure.

:mod:`experiments.ladder.svg` and :mod:`experiments.ladder.text` draw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.analysis.claim import Case
from experiments.analysis.observations import Observation
from experiments.analysis.outcomes import Outcome
from experiments.analysis.reset_traces import ResetTrace, Segments
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.forecast import client_of
from topologies.domain.plan import FABRIC, Plan

#: Kinds of columns.
CLIENT, SWITCH, NODE, OTHERS = "client", "switch", "node", "others"
#: Kinds of arrows, in the order of the claim, and of marks on a lifeline.
STRAY, RESET, CLIENT_COPY = "stray", "reset", "client-copy"
TIER1, TIER2 = "tier-1", "tier-2"
CLIENT_RESET, FREED, FAILED, HELD = "client-reset", "freed", "failed", "held"


class LadderError(LookupError):
    """There is no reset to draw."""


@dataclass(frozen=True)
class Column:
    """One lifeline. ``chassis``: the group that it belongs to. ``stands_for``: the names
    that a column of kind ``others`` replaces."""

    name: str
    kind: str
    chassis: str = ""
    note: str = ""
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """Start or end of an arrow. ``time_ns`` is None where it was not captured."""

    column: str
    time_ns: int | None = None


@dataclass(frozen=True)
class Arrow:
    """One segment from host to host. ``element``: the element of the claim that it shows.

    ``detail``: its flags, sequence numbers and frame number in the capture.
    """

    kind: str
    start: End
    end: End
    text: str
    element: str
    detail: str = ""

    @property
    def time_ns(self) -> int:
        """When it was first captured."""
        times = [e.time_ns for e in (self.start, self.end) if e.time_ns is not None]
        return min(times)


@dataclass(frozen=True)
class Mark:
    """What the kernel did to a socket. ``time_ns`` None: nothing until the end."""

    kind: str
    column: str
    time_ns: int | None
    text: str
    element: str


@dataclass(frozen=True)
class Ladder:
    """A complete diagram. ``start_ns``: the instant that its times count from.

    ``note``: words under the drawing, in place of the legend of arrows, where it has none.
    """

    title: str
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    marks: tuple[Mark, ...]
    start_ns: int
    note: str = ""

    def index(self, name: str) -> int:
        """The index of the column that shows ``name``."""
        for index, column in enumerate(self.columns):
            if name == column.name or name in column.stands_for:
                return index
        raise LadderError(f"no column shows {name}")

    def shown(self) -> list[Arrow]:
        """The arrows to draw, in the order of time.

        Arrows of one kind between the same two columns are drawn as one.
        """
        groups: dict[tuple[str, int, int], list[Arrow]] = {}
        for arrow in self.arrows:
            ends = self.index(arrow.start.column), self.index(arrow.end.column)
            groups.setdefault((arrow.kind, *ends), []).append(arrow)
        return [
            arrows[0]
            if len(arrows) == 1
            else replace(arrows[0], text=f"{len(arrows)} {kind} copies")
            for (kind, _, _), arrows in groups.items()
        ]

    def narrowed_to(self, columns: int) -> Ladder:
        """This ladder with fewer columns: others are merged in columns of kind ``others``.

        First the uninvolved nodes of each chassis, then whole chassis without owner and
        second node. Client, owner and second node always keep their own columns.
        """
        if len(self.columns) <= columns:
            return self
        narrow = replace(self, columns=tuple(_merge_nodes(self.columns)))
        if len(narrow.columns) <= columns:
            return narrow
        return replace(self, columns=tuple(_merge_chassis(narrow.columns)))


def choose(cases: Iterable[Case], connection: FourTuple | None = None) -> Case:
    """The case to draw: that of ``connection``, or the one that shows most.

    Best is a complete case with owner and second node in different chassis. Raises
    :class:`LadderError` if there is no case.
    """
    candidates = [
        case
        for case in cases
        if connection is None or case.outcome.connection == connection
    ]
    if not candidates:
        raise LadderError("no moved connection sent a segment to a second node")
    return max(candidates, key=_score)


def ladder(case: Case, plan: Plan) -> Ladder:
    """The diagram of one case: everything that its first reset caused."""
    outcome, stray = case.outcome, case.outcome.first_stray
    if stray is None:
        raise LadderError(
            f"{format_connection(outcome.connection)} sent no stray segment"
        )
    client = client_of(plan, outcome.connection.src).name
    arrows = [_stray_arrow(stray, client)]
    if case.trace is not None:
        arrows += [*_reset_arrows(case.trace, client), *_copy_arrows(case.trace)]
    notes = {client: "client", stray.label: "second node"}
    if outcome.owner:
        notes[outcome.owner] = "owner"
    return Ladder(
        f"Reset of {format_connection(outcome.connection)}",
        tuple(_columns(plan, client, notes)),
        tuple(sorted(arrows, key=lambda arrow: arrow.time_ns)),
        tuple(_marks(outcome, client)),
        stray.time_ns,
    )


def _score(case: Case) -> tuple[bool, bool, bool, bool, int]:
    """Sort key: the case that shows most is the greatest. Of equal ones, the first wins."""
    trace, outcome = case.trace, case.outcome
    stray = outcome.first_stray
    old, new = (
        (outcome.owner or "").split("n")[0],
        (outcome.moved_to or "").split("n")[0],
    )
    return (
        outcome.reset,
        outcome.freed_ns is not None
        and not (outcome.owner_failed or outcome.owner_out_of_reach),
        old != new,
        stray is not None and stray.payload > 0,
        len(trace.tier2) if trace else 0,
    )


def _columns(plan: Plan, client: str, notes: Mapping[str, str]) -> Iterator[Column]:
    yield Column(client, CLIENT, note=notes[client])
    yield Column(FABRIC, SWITCH)
    for chassis in plan.chassis:
        yield Column(chassis.name, SWITCH, chassis.name)
        for node in chassis.nodes:
            yield Column(node.name, NODE, chassis.name, notes.get(node.name, ""))


def _stray_arrow(stray: Observation, client: str) -> Arrow:
    what = f"{stray.payload} B" if stray.payload else stray.flag_names
    text = f"stray: {what} for {stray.label}"
    end = End(stray.label, stray.time_ns)
    return Arrow(STRAY, End(client), end, text, "E1", _detail(stray))


def _reset_arrows(trace: ResetTrace, client: str) -> Iterator[Arrow]:
    if trace.resets:
        arrived = trace.arrivals[0].time_ns if trace.arrivals else None
        start = End(trace.node, trace.resets[0].time_ns)
        text = f"RST: {trace.node} has no socket"
        if arrived is None:
            text = "RST, lost on its way"
        detail = _detail(trace.resets[0])
        yield Arrow(RESET, start, End(FABRIC, arrived), text, "E2", detail)
    if trace.client_copies:
        copy = trace.client_copies[0]
        start, end = End(FABRIC, copy.time_ns), End(client)
        yield Arrow(CLIENT_COPY, start, end, "RST to the client", "E2", _detail(copy))


def _copy_arrows(trace: ResetTrace) -> Iterator[Arrow]:
    """A tier-2 copy is captured where it arrives, not where it leaves."""
    for name, copies in sorted(trace.tier1.items()):
        start = End(FABRIC, copies[0].time_ns)
        end = End(name, _first(trace.uplinks.get(name)))
        text = f"tier-1 copy to {name}"
        yield Arrow(TIER1, start, end, text, "E4", f"frame {copies[0].frame}")
    for name, copies in sorted(trace.tier2.items()):
        start, end = End(name.split("n")[0]), End(name, copies[0].time_ns)
        text = f"tier-2 copy to {name}"
        yield Arrow(TIER2, start, end, text, "E5", f"frame {copies[0].frame}")


def _detail(segment: Observation) -> str:
    return f"{segment.flag_names} seq {segment.seq} ack {segment.ack}, frame {segment.frame}"


def _first(seen: Segments | None) -> int | None:
    return seen[0].time_ns if seen else None


def _marks(outcome: Outcome, client: str) -> Iterator[Mark]:
    if outcome.reset_ns is not None:
        text = "client's socket is reset"
        yield Mark(CLIENT_RESET, client, outcome.reset_ns, text, "E2")
    elif outcome.hung:
        yield Mark(HELD, client, None, f"{client} still waits", "")
    if outcome.owner and outcome.owner_failed:
        text = f"{outcome.owner} failed, with its state"
        yield Mark(
            FAILED, outcome.owner, outcome.freed_ns or outcome.moved_ns, text, ""
        )
    elif outcome.owner and outcome.freed_ns is not None:
        by_itself = outcome.owner_out_of_reach  # no copy of the reset reached it
        text = (
            f"{outcome.owner} frees the connection{', by itself' if by_itself else ''}"
        )
        yield Mark(
            FREED, outcome.owner, outcome.freed_ns, text, "" if by_itself else "E3"
        )
    elif outcome.owner and outcome.half_open_at_end:
        yield Mark(HELD, outcome.owner, None, f"{outcome.owner} still holds it", "")


def _merge_nodes(columns: Sequence[Column]) -> Iterator[Column]:
    """Columns in which the uninvolved nodes of each chassis are one, the last of it."""
    others: list[Column] = []
    for column, following in zip(columns, [*columns[1:], None], strict=True):
        if column.kind == NODE and not column.note:
            others.append(column)
        else:
            yield column
        if others and (following is None or following.chassis != column.chassis):
            yield _merged(others, column.chassis)
            others = []


def _merge_chassis(columns: Sequence[Column]) -> Iterator[Column]:
    """Columns in which chassis without owner and second node, with their nodes, are one,
    the last."""
    involved = {column.chassis for column in columns if column.note} | {""}
    yield from (column for column in columns if column.chassis in involved)
    others = [column for column in columns if column.chassis not in involved]
    if others:
        yield _merged(others, "")


def _merged(columns: Sequence[Column], chassis: str) -> Column:
    names = tuple(
        name for column in columns for name in (column.stands_for or (column.name,))
    )
    return Column(f"others of {chassis or FABRIC}", OTHERS, chassis, stands_for=names)
