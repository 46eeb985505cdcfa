"""The claim chart: whether each element of the claim was seen, and where: pure.

Every moved connection that sent a stray segment is checked, not an example of them. An
element passes if it holds for all of them, and there is at least one. The last row,
``order``, is stricter than the claim: on the wire, stray, reset, client's copy, tier-1
copies and tier-2 copies follow one another, no copy goes back up, none begets another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.analysis.epochs import END_OF_TIME, History
from experiments.analysis.fates import Fate
from experiments.analysis.observations import Observation
from experiments.analysis.trails import Places, Seen, Trail
from nodes.guard.verdict import RESET_INTERVAL_S
from topologies.domain.connection import FourTuple, format_connection

ORDER = "order"


@dataclass(frozen=True)
class ClaimRow:
    """One element (``E1`` to ``E5``, or ``order``), for ``held`` of ``checked``."""

    element: str
    passed: bool
    evidence: str
    checked: int
    held: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``summary.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """One moved connection that sent a stray, and the trails of its resets."""

    fate: Fate
    trails: list[Trail]

    def opened_before(self, trail: Trail) -> bool:
        """Whether the connection was open when the trail began."""
        return self.fate.opened_ns <= trail.first_ns

    @property
    def trail(self) -> Trail | None:
        """The first trail."""
        return self.trails[0] if self.trails else None


class Broken(Exception):
    """An element does not hold for a case; the text says what was seen instead."""


#: Says what was seen of an element in a case. Raises :class:`Broken`.
Check = Callable[[Case], str]


class ClaimChart:
    """Holds what the checks need to know of the cluster."""

    def __init__(
        self, history: History, places: Places, excludes_origin: bool = False
    ) -> None:
        """``history`` says who had to get copies, ``places`` what each label is.

        ``excludes_origin``: the node that sent the reset must get no copy of it.
        """
        self._history = history
        self._places = places
        self._excludes_origin = excludes_origin

    def rows(
        self, fates: Iterable[Fate], trails: Sequence[Trail], end_ns: int = END_OF_TIME
    ) -> list[ClaimRow]:
        """``E1`` to ``E5`` and ``order``; what begins after ``end_ns`` is left out."""
        trails = [trail for trail in trails if trail.first_ns < end_ns]
        cases = cases_of(fates, trails)
        checks: Mapping[str, Check] = {
            "E1": self._e1,
            "E2": self._e2,
            "E3": self._e3,
            "E4": self._e4,
            "E5": self._e5,
            ORDER: self._order,
        }
        found = {
            element: _row(element, check, cases) for element, check in checks.items()
        }
        found["E3"] = _with_unreached(found["E3"], cases)
        found[ORDER] = _with_strangers(found[ORDER], trails, cases)
        return list(found.values())

    def _e1(self, case: Case) -> str:
        """A segment of an established connection comes to a second node."""
        fate, stray = case.fate, case.fate.first_stray
        assert stray is not None, "cases have one"
        if not fate.home_seen:
            raise Broken(
                f"no node was seen to hold {format_connection(fate.connection)}"
            )
        return (
            f"{_at(stray, fate)} {stray.flag_names} with {stray.payload} B of "
            f"{format_connection(fate.connection)} came to {stray.label}; its owner is {fate.home}"
        )

    def _e2(self, case: Case) -> str:
        """The second node resets the client through the load balancer."""
        fate, trail = case.fate, _needed(case)
        _answered(trail, case.trails)
        _follow(trail.strays, trail.resets, "the reset", "its stray")
        _same_count(trail.resets, trail.arrivals, "resets", "arrivals at the fabric")
        _same_count(trail.resets, trail.client_copies, "resets", "copies to the client")
        _follow(trail.arrivals, trail.client_copies, "the client's copy", "the reset")
        copy = trail.client_copies[0]
        if fate.reset_ns is None or fate.reset_ns < copy.time_ns:
            raise Broken(f"{_at(copy, fate)} RST to the client, whose socket stayed")
        return (
            f"{_at(trail.resets[0], fate)} RST left {trail.node}, {_at(copy, fate)} "
            f"{copy.label} to the client, reset at {_after(fate.reset_ns, fate)}"
        )

    def _e3(self, case: Case) -> str:
        """Further resets go to several nodes, and the owner frees the connection."""
        fate, trail = case.fate, _needed(case)
        if not trail.tier2:
            raise Broken(f"no node got a copy; {fate.home} {_owner_state(fate)}")
        if len(trail.tier2) < 2:
            raise Broken(f"only {next(iter(trail.tier2))} got a copy: no plurality")
        if fate.home_failed:
            return f"{len(trail.tier2)} nodes got a copy; {fate.home} had failed"
        at_owner = trail.tier2.get(fate.home or "")
        if not at_owner and fate.home_out_of_reach:
            return (
                f"{len(trail.tier2)} nodes got a copy; {fate.home}, the owner, was cut "
                f"off and {_owner_state(fate)}"
            )
        if not at_owner:
            raise Broken(f"{fate.home}, the owner, got no copy")
        if fate.freed_ns is None or fate.freed_ns < at_owner[0].time_ns:
            raise Broken(f"{_at(at_owner[0], fate)} {fate.home}, {_owner_state(fate)}")
        return (
            f"{len(trail.tier2)} nodes got a copy; {_at(at_owner[0], fate)} at "
            f"{fate.home}, freed at {_after(fate.freed_ns, fate)}"
        )

    def _e4(self, case: Case) -> str:
        """The fabric sends one copy to each chassis that it can reach."""
        first = _needed(case)
        for trail in case.trails:
            self._tier1_complete(trail)
        if len(first.tier1) < 2:
            raise Broken(f"copies left to {_names(first.tier1)} only: no plurality")
        return f"{_first_frames(first.tier1, case.fate)}: one to each chassis"

    def _e5(self, case: Case) -> str:
        """Each chassis sends one copy to each of its nodes that it can reach."""
        first = _needed(case)
        for trail in case.trails:
            self._tier2_complete(trail)
        if not first.tier2:
            raise Broken("no node got a copy")
        return f"{_first_frames(first.tier2, case.fate)}: one to each node"

    def _order(self, case: Case) -> str:
        """One after the other, for each reset by itself."""
        for trail in case.trails:
            self._steps_follow(trail)
            if trail.misdirected:
                raise Broken(f"{_at(trail.misdirected[0], case.fate)} a copy went back")
        if not _needed(case).tier2:
            raise Broken("no copies followed the reset")
        return "stray, reset, fabric, client's copy, tier-1 and tier-2 copies in order"

    def _tier1_complete(self, trail: Trail) -> None:
        if not trail.arrivals:
            raise Broken(f"no reset of {trail.node or 'any node'} reached the fabric")
        expected = self._history.expected(trail.arrivals[0].time_ns)
        count = len(trail.arrivals)
        _exactly(trail.tier1, expected.must, expected.may, count, "from the fabric")
        for name, copies in trail.tier1.items():
            _follow(trail.arrivals, copies, f"the copy to {name}", "the reset")

    def _tier2_complete(self, trail: Trail) -> None:
        if not trail.arrivals:
            raise Broken(f"no reset of {trail.node or 'any node'} reached the fabric")
        expected = self._history.expected(trail.arrivals[0].time_ns)
        must = {node for nodes in expected.must.values() for node in nodes}
        may = {node for nodes in expected.may.values() for node in nodes}
        if self._excludes_origin:
            must, may = must - {trail.node}, may - {trail.node}
        _exactly(trail.tier2, must, may, len(trail.arrivals), "from its chassis")
        for name, copies in trail.tier2.items():
            arrived = trail.uplinks.get(self._places.nodes[name], [])
            _follow(arrived, copies, f"the copy to {name}", "its chassis's")

    def _steps_follow(self, trail: Trail) -> None:
        _follow(trail.strays, trail.resets, "the reset", "its stray")
        _follow(trail.resets, trail.arrivals, "the arrival at the fabric", "the reset")
        _follow(trail.arrivals, trail.client_copies, "the client's copy", "the arrival")
        for name, copies in trail.tier1.items():
            what = f"the copy to {name}"
            _follow(trail.client_copies, copies, what, "the client's copy")
            _follow(copies, trail.uplinks.get(name, []), f"arrival at {name}", what)
        for name, copies in trail.tier2.items():
            arrived = trail.uplinks.get(self._places.nodes[name], [])
            _follow(arrived, copies, f"the copy to {name}", "its chassis's")


def cases_of(fates: Iterable[Fate], trails: Iterable[Trail]) -> list[Case]:
    """Each moved connection with a stray, and the trails of its resets.

    Not one whose handshake an event cut in two: no first node ever had it.
    A trail belongs to the latest connection on its 4-tuple that was open before it.
    """
    by_tuple: dict[FourTuple, list[Case]] = defaultdict(list)
    for fate in sorted(fates, key=lambda fate: fate.opened_ns):
        by_tuple[fate.connection].append(Case(fate, []))
    for trail in trails:
        opened = [c for c in by_tuple[trail.connection] if c.opened_before(trail)]
        if opened:
            opened[-1].trails.append(trail)
    return [
        case
        for cases in by_tuple.values()
        for case in cases
        if case.fate.moved
        and case.fate.first_stray is not None
        and not case.fate.unfinished
    ]


def _row(element: str, check: Check, cases: Sequence[Case]) -> ClaimRow:
    held, example, counterexample = 0, "", ""
    for case in cases:
        try:
            seen = check(case)
        except Broken as broken:
            seen = f"{format_connection(case.fate.connection)}: {broken}"
            counterexample = counterexample or seen
        else:
            held += 1
            example = example or seen
    checked = len(cases)
    if not cases:
        return ClaimRow(element, False, "no segment came to a second node", 0, 0)
    evidence = f"{held} of {checked} connections; {counterexample or example}"
    return ClaimRow(element, held == checked, evidence, checked, held)


def _with_unreached(row: ClaimRow, cases: Sequence[Case]) -> ClaimRow:
    """The row, with how many owners no copy could reach: they free nothing by it."""
    unreached = [
        case.fate
        for case in cases
        if case.fate.home_out_of_reach
        and not any(trail.tier2.get(case.fate.home or "") for trail in case.trails)
    ]
    if not unreached:
        return row
    kept = sum(fate.freed_ns is None for fate in unreached)
    evidence = (
        f"{row.evidence}; {len(unreached)} owners were cut off from every copy, "
        f"{kept} of them hold it still"
    )
    return replace(row, evidence=evidence)


def _with_strangers(
    row: ClaimRow, trails: Sequence[Trail], cases: Sequence[Case]
) -> ClaimRow:
    """The row, failed where a trail has no stray: a copy begot another, or a forgery
    was amplified."""
    known = {id(trail) for case in cases for trail in case.trails}
    strangers = [t for t in trails if id(t) not in known and not t.strays]
    if not strangers:
        return row
    one = min(strangers[0].parts(), key=lambda part: part.time_ns)
    evidence = (
        f"{len(strangers)} resets that no stray drew, first frame {one.frame} at "
        f"{one.label}; {row.evidence}"
    )
    return ClaimRow(row.element, False, evidence, row.checked, row.held)


def _needed(case: Case) -> Trail:
    if case.trail is None or not case.trail.resets:
        stray = case.fate.first_stray
        assert stray is not None, "cases have one"
        raise Broken(f"{_at(stray, case.fate)} {stray.label} did not answer its stray")
    return case.trail


def _answered(trail: Trail, trails: Sequence[Trail]) -> None:
    """Every stray of the trail was, or the node had just said the same (RESET_INTERVAL_S)."""
    if len(trail.resets) > len(trail.strays):
        _same_count(trail.strays, trail.resets, "strays", f"resets of {trail.node}")
    answers = [
        reset.time_ns
        for other in trails
        if (other.node, other.key.seq) == (trail.node, trail.key.seq)
        for reset in other.resets
    ]
    ends = [stray.time_ns for stray in trail.strays[1:]] + [END_OF_TIME]
    for stray, next_ns in zip(trail.strays, ends, strict=True):
        since_ns = stray.time_ns - round(RESET_INTERVAL_S * 1e9)
        if not any(since_ns <= answer < next_ns for answer in answers):
            raise Broken(f"frame {stray.frame}: {trail.node} did not answer that stray")


def _same_count(expected: Seen, seen: Seen, of: str, what: str) -> None:
    if len(seen) != len(expected):
        raise Broken(f"{len(expected)} {of}, but {len(seen)} {what}")


def _follow(first: Seen, then: Seen, what: str, after: str) -> None:
    """Each of ``then`` is there and later than its counterpart in ``first``."""
    for index, one in enumerate(then):
        if index >= len(first):
            raise Broken(f"frame {one.frame}: {what} without {after}")
        if one.time_ns < first[index].time_ns:
            raise Broken(f"frame {one.frame}: {what} before {after}")


def _exactly(
    seen: Mapping[str, Seen],
    must: Iterable[str],
    may: Iterable[str],
    count: int,
    source: str,
) -> None:
    for name in sorted(must):
        found = len(seen.get(name, ()))
        if found < count:
            raise Broken(f"{name} got {found} copies of {count} {source}")
    allowed = set(may)
    for name, copies in seen.items():
        if name not in allowed or len(copies) > count:
            raise Broken(f"frame {copies[-1].frame}: a copy too many to {name}")


def _owner_state(fate: Fate) -> str:
    if fate.home_failed:
        return "had failed"
    return "still holds it" if fate.freed_ns is None else "freed it by itself"


def _first_frames(copies: Mapping[str, Seen], fate: Fate) -> str:
    """``c1 frame 9 +1.2 ms, c2 frame 10 +1.3 ms, ... 3 more``."""
    shown = [f"{name} {_at(seen[0], fate)}" for name, seen in sorted(copies.items())]
    rest = f", … {len(shown) - 4} more" if len(shown) > 4 else ""
    return ", ".join(shown[:4]) + rest


def _names(copies: Mapping[str, Seen]) -> str:
    return ", ".join(sorted(copies)) or "no chassis"


def _at(one: Observation, fate: Fate) -> str:
    return f"frame {one.frame} {_after(one.time_ns, fate)}"


def _after(time_ns: int, fate: Fate) -> str:
    """The instant, from the event that moved the connection."""
    return f"+{(time_ns - (fate.moved_ns or fate.opened_ns)) / 1e6:.3f} ms"
