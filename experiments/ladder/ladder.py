"""The ladder diagram of one connection's reset, as data: who, what, and when: pure.

:mod:`experiments.ladder.svg` and :mod:`experiments.ladder.text` draw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.analysis.claim import Case
from experiments.analysis.fates import Fate
from experiments.analysis.observations import Observation
from experiments.analysis.trails import Seen, Trail
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.forecast import client_of
from topologies.domain.plan import FABRIC, Plan

#: Kinds of columns.
CLIENT, SWITCH, NODE, REST = "client", "switch", "node", "rest"
#: Kinds of arrows, in the order of the claim, and of marks on a lifeline.
STRAY, RESET, CLIENT_COPY = "stray", "reset", "client-copy"
TIER1, TIER2 = "tier-1", "tier-2"
CLIENT_RESET, FREED, FAILED, HELD = "client-reset", "freed", "failed", "held"


class LadderError(LookupError):
    """There is no reset to draw."""


@dataclass(frozen=True)
class Column:
    """One lifeline; ``chassis`` is the group it stands in, ``stands_for`` the names
    that a column of kind ``rest`` replaces."""

    name: str
    kind: str
    chassis: str = ""
    note: str = ""
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """Where an arrow begins or ends; ``time_ns`` is None where nobody looked."""

    column: str
    time_ns: int | None = None


@dataclass(frozen=True)
class Arrow:
    """One segment on its way. ``element`` is the one of the claim that it shows.

    ``detail`` are its flags, numbers and frames in the capture.
    """

    kind: str
    start: End
    end: End
    text: str
    element: str
    detail: str = ""

    @property
    def time_ns(self) -> int:
        """When it was seen for the first time."""
        times = [e.time_ns for e in (self.start, self.end) if e.time_ns is not None]
        return min(times)


@dataclass(frozen=True)
class Mark:
    """What the kernel did to a socket; ``time_ns`` None: nothing, up to the end."""

    kind: str
    column: str
    time_ns: int | None
    text: str
    element: str


@dataclass(frozen=True)
class Ladder:
    """A whole diagram; ``start_ns`` is the instant that its times count from."""

    title: str
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    marks: tuple[Mark, ...]
    start_ns: int

    def index(self, name: str) -> int:
        """The place of the column that shows ``name``."""
        for place, column in enumerate(self.columns):
            if name == column.name or name in column.stands_for:
                return place
        raise LadderError(f"no column shows {name}")

    def shown(self) -> list[Arrow]:
        """The arrows to draw, in the order of time.

        Those of one kind from one column to bystanders that stand together are one.
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

    def at_most(self, columns: int) -> Ladder:
        """This ladder, narrowed: bystanders stand together in columns of kind ``rest``.

        First the bystanders of each chassis, then whole chassis without owner and
        second node. The involved ones always keep their own.
        """
        if len(self.columns) <= columns:
            return self
        narrow = replace(self, columns=tuple(_bystanders_together(self.columns)))
        if len(narrow.columns) <= columns:
            return narrow
        return replace(self, columns=tuple(_chassis_together(narrow.columns)))


def choose(cases: Iterable[Case], connection: FourTuple | None = None) -> Case:
    """The case to draw: of ``connection``, or the one that shows most.

    Best is a complete one whose owner and second node are in different chassis. Raises
    :class:`LadderError` where there is none.
    """
    candidates = [
        case
        for case in cases
        if connection is None or case.fate.connection == connection
    ]
    if not candidates:
        raise LadderError("no moved connection sent a segment to a second node")
    return max(candidates, key=_worth)


def ladder(case: Case, plan: Plan) -> Ladder:
    """The diagram of one case: everything that its first reset set off."""
    fate, stray = case.fate, case.fate.first_stray
    if stray is None:
        raise LadderError(
            f"{format_connection(fate.connection)} sent no segment astray"
        )
    client = client_of(plan, fate.connection.src).name
    arrows = [_stray_arrow(stray, client)]
    if case.trail is not None:
        arrows += [*_reset_arrows(case.trail, client), *_copy_arrows(case.trail)]
    notes = {client: "client", stray.label: "second node"}
    if fate.home:
        notes[fate.home] = "owner"
    return Ladder(
        f"Reset of {format_connection(fate.connection)}",
        tuple(_columns(plan, client, notes)),
        tuple(sorted(arrows, key=lambda arrow: arrow.time_ns)),
        tuple(_marks(fate, client)),
        stray.time_ns,
    )


def _worth(case: Case) -> tuple[bool, bool, bool, bool, int]:
    """The greater, the more there is to see; all else equal, the first one wins."""
    trail, fate = case.trail, case.fate
    stray = fate.first_stray
    home, away = (fate.home or "").split("n")[0], (fate.moved_to or "").split("n")[0]
    return (
        fate.reset,
        fate.freed_ns is not None and not (fate.home_failed or fate.home_out_of_reach),
        home != away,
        stray is not None and stray.payload > 0,
        len(trail.tier2) if trail else 0,
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


def _reset_arrows(trail: Trail, client: str) -> Iterator[Arrow]:
    if trail.resets:
        arrived = trail.arrivals[0].time_ns if trail.arrivals else None
        start = End(trail.node, trail.resets[0].time_ns)
        text = f"RST: {trail.node} has no socket"
        if arrived is None:
            text = "RST, lost on its way"
        detail = _detail(trail.resets[0])
        yield Arrow(RESET, start, End(FABRIC, arrived), text, "E2", detail)
    if trail.client_copies:
        copy = trail.client_copies[0]
        start, end = End(FABRIC, copy.time_ns), End(client)
        yield Arrow(CLIENT_COPY, start, end, "RST to the client", "E2", _detail(copy))


def _copy_arrows(trail: Trail) -> Iterator[Arrow]:
    """A tier-2 copy is seen where it arrives, not where it leaves."""
    for name, copies in sorted(trail.tier1.items()):
        start = End(FABRIC, copies[0].time_ns)
        end = End(name, _first(trail.uplinks.get(name)))
        text = f"tier-1 copy to {name}"
        yield Arrow(TIER1, start, end, text, "E4", f"frame {copies[0].frame}")
    for name, copies in sorted(trail.tier2.items()):
        start, end = End(name.split("n")[0]), End(name, copies[0].time_ns)
        text = f"tier-2 copy to {name}"
        yield Arrow(TIER2, start, end, text, "E5", f"frame {copies[0].frame}")


def _detail(one: Observation) -> str:
    return f"{one.flag_names} seq {one.seq} ack {one.ack}, frame {one.frame}"


def _first(seen: Seen | None) -> int | None:
    return seen[0].time_ns if seen else None


def _marks(fate: Fate, client: str) -> Iterator[Mark]:
    if fate.reset_ns is not None:
        text = "client's socket is reset"
        yield Mark(CLIENT_RESET, client, fate.reset_ns, text, "E2")
    elif fate.hung:
        yield Mark(HELD, client, None, f"{client} still waits", "")
    if fate.home and fate.home_failed:
        text = f"{fate.home} failed, with its state"
        yield Mark(FAILED, fate.home, fate.freed_ns or fate.moved_ns, text, "")
    elif fate.home and fate.freed_ns is not None:
        alone = fate.home_out_of_reach  # no copy of the reset did it
        text = f"{fate.home} frees the connection{', by itself' if alone else ''}"
        yield Mark(FREED, fate.home, fate.freed_ns, text, "" if alone else "E3")
    elif fate.home and fate.half_open_at_end:
        yield Mark(HELD, fate.home, None, f"{fate.home} still holds it", "")


def _bystanders_together(columns: Sequence[Column]) -> Iterator[Column]:
    """Nodes with no part in it, of each chassis, as one column after the others."""
    rest: list[Column] = []
    for column, following in zip(columns, [*columns[1:], None], strict=True):
        if column.kind == NODE and not column.note:
            rest.append(column)
        else:
            yield column
        if rest and (following is None or following.chassis != column.chassis):
            yield _rest(rest, column.chassis)
            rest = []


def _chassis_together(columns: Sequence[Column]) -> Iterator[Column]:
    """Chassis with no owner and no second node, with all theirs, as the last column."""
    involved = {column.chassis for column in columns if column.note} | {""}
    yield from (column for column in columns if column.chassis in involved)
    rest = [column for column in columns if column.chassis not in involved]
    if rest:
        yield _rest(rest, "")


def _rest(columns: Sequence[Column], chassis: str) -> Column:
    names = tuple(
        name for column in columns for name in (column.stands_for or (column.name,))
    )
    return Column(f"others of {chassis or FABRIC}", REST, chassis, stands_for=names)
