"""The claim chart: checks each element of the claim against the capture: pure.

Every moved connection that sent a stray segment is checked, not only an example. An
element passes if there is at least one, and it holds for all. The last row, ``order``, is
stricter than the claim: on the wire, stray, reset, client's copy, tier-1 copies and
tier-2 copies follow in this order, no copy goes back to the fabric, and no copy causes
another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.analysis.epochs import END_OF_TIME, EpochTimeline
from experiments.analysis.observations import Observation
from experiments.analysis.outcomes import Outcome
from experiments.analysis.reset_traces import PortRoles, ResetTrace, Segments
from nodes.guard.verdict import RESET_INTERVAL_S
from topologies.domain.connection import FourTuple, format_connection

ORDER = "order"


@dataclass(frozen=True)
class ClaimRow:
    """One element (``E1`` to ``E5``, or ``order``): it held for ``held`` of ``checked``."""

    element: str
    passed: bool
    evidence: str
    checked: int
    held: int

    def to_json(self) -> dict[str, Any]:
        """Its object in ``summary.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """One moved connection that sent a stray, and the traces of its resets.

    ``lost``: traces that an event under way may have cut short, and that are not judged.
    """

    outcome: Outcome
    traces: list[ResetTrace]
    lost: tuple[ResetTrace, ...] = ()

    def opened_before(self, trace: ResetTrace) -> bool:
        """Whether the connection was open when the trace began."""
        return self.outcome.opened_ns <= trace.first_ns

    @property
    def trace(self) -> ResetTrace | None:
        """The first trace."""
        return self.traces[0] if self.traces else None


class ElementFailed(Exception):
    """An element does not hold for a case. The text says what was seen instead."""


#: Returns what was seen of an element in a case. Raises :class:`ElementFailed`.
Check = Callable[[Case], str]


class ClaimChart:
    """The checks, with what they need to know of the cluster."""

    def __init__(
        self, timeline: EpochTimeline, roles: PortRoles, excludes_origin: bool = False
    ) -> None:
        """``timeline``: who had to get copies, and when; ``roles``: what each label is.

        ``excludes_origin``: the node that sent the reset must get no copy of it.
        """
        self._timeline = timeline
        self._roles = roles
        self._excludes_origin = excludes_origin

    def rows(
        self,
        outcomes: Iterable[Outcome],
        traces: Sequence[ResetTrace],
        end_ns: int = END_OF_TIME,
    ) -> list[ClaimRow]:
        """``E1`` to ``E5`` and ``order``. Traces that begin after ``end_ns`` are left out."""
        traces = [trace for trace in traces if trace.first_ns < end_ns]
        cases = [self._that_could_arrive(c) for c in cases_of(outcomes, traces)]
        checks: Mapping[str, Check] = {
            "E1": self._e1,
            "E2": self._e2,
            "E3": self._e3,
            "E4": self._e4,
            "E5": self._e5,
            ORDER: self._order,
        }
        rows = {
            element: _row(element, check, cases) for element, check in checks.items()
        }
        rows["E2"] = _with_lost_resets(rows["E2"], cases)
        rows["E3"] = _with_unreachable_owners(rows["E3"], cases)
        rows[ORDER] = _with_unexplained_resets(rows[ORDER], traces, cases)
        return list(rows.values())

    def _that_could_arrive(self, case: Case) -> Case:
        """The case without resets that an event under way may have lost.

        From an uplink's return until its switches have settled, a stray may reach the chassis
        while the fabric still drops what comes back. The client's next segment draws another
        reset, and that one is judged. Where none came through, all are.
        """
        lost = tuple(trace for trace in case.traces if self._may_be_lost(trace))
        arrived = [trace for trace in case.traces if trace not in lost]
        came = any(trace.client_copies for trace in arrived)
        return replace(case, traces=arrived, lost=lost) if came else case

    def _may_be_lost(self, trace: ResetTrace) -> bool:
        return (
            not trace.client_copies
            and bool(trace.resets)
            and self._timeline.cuts_off(trace.resets[0].time_ns, trace.node)
        )

    def _e1(self, case: Case) -> str:
        """A segment of an established connection arrives at a second node."""
        outcome, stray = case.outcome, case.outcome.first_stray
        assert stray is not None, "cases have one"
        if not outcome.owner_seen:
            raise ElementFailed(
                f"no node was seen to hold {format_connection(outcome.connection)}"
            )
        return (
            f"{_at(stray, outcome)} {stray.flag_names} with {stray.payload} B of "
            f"{format_connection(outcome.connection)} came to {stray.label}; its owner is {outcome.owner}"
        )

    def _e2(self, case: Case) -> str:
        """The second node resets the client through the load balancer."""
        outcome, trace = case.outcome, _first_trace(case)
        _answered(trace, (*case.lost, *case.traces))
        _follow(trace.strays, trace.resets, "the reset", "its stray")
        _same_count(trace.resets, trace.arrivals, "resets", "arrivals at the fabric")
        _same_count(trace.resets, trace.client_copies, "resets", "copies to the client")
        _follow(trace.arrivals, trace.client_copies, "the client's copy", "the reset")
        copy = trace.client_copies[0]
        sent_ns = min(copy.time_ns, outcome.refused_ns or copy.time_ns)
        if outcome.reset_ns is None or outcome.reset_ns < sent_ns:
            raise ElementFailed(
                f"{_at(copy, outcome)} RST to the client, whose socket stayed"
            )
        return (
            f"{_at(trace.resets[0], outcome)} RST left {trace.node}, {_at(copy, outcome)} "
            f"{copy.label} to the client, reset at {_after(outcome.reset_ns, outcome)}"
        )

    def _e3(self, case: Case) -> str:
        """Further resets go to several nodes, and the owner frees the connection."""
        outcome, trace = case.outcome, _first_trace(case)
        if not trace.tier2:
            raise ElementFailed(
                f"no node got a copy; {outcome.owner} {_owner_state(outcome)}"
            )
        if len(trace.tier2) < 2:
            raise ElementFailed(
                f"only {next(iter(trace.tier2))} got a copy: no plurality"
            )
        if outcome.owner_failed:
            return f"{len(trace.tier2)} nodes got a copy; {outcome.owner} had failed"
        at_owner = trace.tier2.get(outcome.owner or "")
        if not at_owner and outcome.owner_out_of_reach:
            return (
                f"{len(trace.tier2)} nodes got a copy; {outcome.owner}, the owner, was cut "
                f"off and {_owner_state(outcome)}"
            )
        if not at_owner:
            raise ElementFailed(f"{outcome.owner}, the owner, got no copy")
        if outcome.freed_ns is None or outcome.freed_ns < at_owner[0].time_ns:
            raise ElementFailed(
                f"{_at(at_owner[0], outcome)} {outcome.owner}, {_owner_state(outcome)}"
            )
        return (
            f"{len(trace.tier2)} nodes got a copy; {_at(at_owner[0], outcome)} at "
            f"{outcome.owner}, freed at {_after(outcome.freed_ns, outcome)}"
        )

    def _e4(self, case: Case) -> str:
        """The fabric sends one copy to each chassis that it can reach."""
        first = _first_trace(case)
        for trace in case.traces:
            self._tier1_complete(trace)
        if len(first.tier1) < 2:
            raise ElementFailed(
                f"copies left to {_names(first.tier1)} only: no plurality"
            )
        return f"{_first_frames(first.tier1, case.outcome)}: one to each chassis"

    def _e5(self, case: Case) -> str:
        """Each chassis sends one copy to each of its nodes that it can reach."""
        first = _first_trace(case)
        for trace in case.traces:
            self._tier2_complete(trace)
        if not first.tier2:
            raise ElementFailed("no node got a copy")
        return f"{_first_frames(first.tier2, case.outcome)}: one to each node"

    def _order(self, case: Case) -> str:
        """The frames of each reset are in order."""
        for trace in case.traces:
            self._steps_follow(trace)
            if trace.unexpected:
                raise ElementFailed(
                    f"{_at(trace.unexpected[0], case.outcome)} a copy went back"
                )
        if not _first_trace(case).tier2:
            raise ElementFailed("no copies followed the reset")
        return "stray, reset, fabric, client's copy, tier-1 and tier-2 copies in order"

    def _tier1_complete(self, trace: ResetTrace) -> None:
        if not trace.arrivals:
            raise ElementFailed(
                f"no reset of {trace.node or 'any node'} reached the fabric"
            )
        expected = self._timeline.expected(trace.arrivals[0].time_ns)
        count = len(trace.arrivals)
        _exactly(trace.tier1, expected.must, expected.may, count, "from the fabric")
        for name, copies in trace.tier1.items():
            _follow(trace.arrivals, copies, f"the copy to {name}", "the reset")

    def _tier2_complete(self, trace: ResetTrace) -> None:
        if not trace.arrivals:
            raise ElementFailed(
                f"no reset of {trace.node or 'any node'} reached the fabric"
            )
        expected = self._timeline.expected(trace.arrivals[0].time_ns)
        must = {node for nodes in expected.must.values() for node in nodes}
        may = {node for nodes in expected.may.values() for node in nodes}
        if self._excludes_origin:
            must, may = must - {trace.node}, may - {trace.node}
        _exactly(trace.tier2, must, may, len(trace.arrivals), "from its chassis")
        for name, copies in trace.tier2.items():
            arrived = trace.uplinks.get(self._roles.nodes[name], [])
            _follow(arrived, copies, f"the copy to {name}", "its chassis's")

    def _steps_follow(self, trace: ResetTrace) -> None:
        _follow(trace.strays, trace.resets, "the reset", "its stray")
        _follow(trace.resets, trace.arrivals, "the arrival at the fabric", "the reset")
        _follow(trace.arrivals, trace.client_copies, "the client's copy", "the arrival")
        for name, copies in trace.tier1.items():
            what = f"the copy to {name}"
            _follow(trace.client_copies, copies, what, "the client's copy")
            _follow(copies, trace.uplinks.get(name, []), f"arrival at {name}", what)
        for name, copies in trace.tier2.items():
            arrived = trace.uplinks.get(self._roles.nodes[name], [])
            _follow(arrived, copies, f"the copy to {name}", "its chassis's")


def cases_of(outcomes: Iterable[Outcome], traces: Iterable[ResetTrace]) -> list[Case]:
    """Each moved connection with a stray, and the traces of its resets.

    A connection whose handshake was split by an event is left out: no first node ever
    had it. So is one whose fan-out the budget refused. A trace belongs to the latest connection on its 4-tuple that was open before it.
    """
    by_tuple: dict[FourTuple, list[Case]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.opened_ns):
        by_tuple[outcome.connection].append(Case(outcome, []))
    for trace in traces:
        opened = [c for c in by_tuple[trace.connection] if c.opened_before(trace)]
        if opened:
            opened[-1].traces.append(trace)
    return [
        case
        for cases in by_tuple.values()
        for case in cases
        if case.outcome.moved
        and case.outcome.first_stray is not None
        and not case.outcome.unfinished
        and not case.outcome.limited
    ]


def _row(element: str, check: Check, cases: Sequence[Case]) -> ClaimRow:
    held, example, counterexample = 0, "", ""
    for case in cases:
        try:
            seen = check(case)
        except ElementFailed as failure:
            seen = f"{format_connection(case.outcome.connection)}: {failure}"
            counterexample = counterexample or seen
        else:
            held += 1
            example = example or seen
    checked = len(cases)
    if not cases:
        return ClaimRow(element, False, "no segment arrived at a second node", 0, 0)
    evidence = f"{held} of {checked} connections; {counterexample or example}"
    return ClaimRow(element, held == checked, evidence, checked, held)


def _with_unreachable_owners(row: ClaimRow, cases: Sequence[Case]) -> ClaimRow:
    """The row, with the number of owners that no copy could reach: no copy frees these."""
    unreached = [
        case.outcome
        for case in cases
        if case.outcome.owner_out_of_reach
        and not any(trace.tier2.get(case.outcome.owner or "") for trace in case.traces)
    ]
    if not unreached:
        return row
    kept = sum(outcome.freed_ns is None for outcome in unreached)
    evidence = (
        f"{row.evidence}; {len(unreached)} owners were cut off from every copy, "
        f"{kept} of them hold it still"
    )
    return replace(row, evidence=evidence)


def _with_lost_resets(row: ClaimRow, cases: Sequence[Case]) -> ClaimRow:
    """The row, with the number of resets that were lost while an uplink came or went."""
    lost = sum(len(case.lost) for case in cases)
    if not lost:
        return row
    evidence = f"{row.evidence}; resets lost while an uplink came or went: {lost}"
    return replace(row, evidence=evidence)


def _with_unexplained_resets(
    row: ClaimRow, traces: Sequence[ResetTrace], cases: Sequence[Case]
) -> ClaimRow:
    """The row; it fails if a trace has no stray: a copy caused another, or a forged reset
    was amplified."""
    explained = {id(trace) for case in cases for trace in case.traces}
    unexplained = [t for t in traces if id(t) not in explained and not t.strays]
    if not unexplained:
        return row
    first = min(unexplained[0].parts(), key=lambda part: part.time_ns)
    evidence = (
        f"{len(unexplained)} resets without a stray, first frame {first.frame} at "
        f"{first.label}; {row.evidence}"
    )
    return ClaimRow(row.element, False, evidence, row.checked, row.held)


def _first_trace(case: Case) -> ResetTrace:
    if case.trace is None or not case.trace.resets:
        stray = case.outcome.first_stray
        assert stray is not None, "cases have one"
        raise ElementFailed(
            f"{_at(stray, case.outcome)} {stray.label} did not answer its stray"
        )
    return case.trace


def _answered(trace: ResetTrace, traces: Sequence[ResetTrace]) -> None:
    """Raises if a stray got no reset, and the node sent no equal one near it in time.

    Near is RESET_INTERVAL_S: before the stray, because the guard does not repeat a reset
    earlier; after it, because a guard that is slower than the client's segments answers
    the first of two strays when the second has arrived. The last stray may wait longer.
    """
    if len(trace.resets) > len(trace.strays):
        _same_count(trace.strays, trace.resets, "strays", f"resets of {trace.node}")
    near_ns = round(RESET_INTERVAL_S * 1e9)
    answers = [
        reset.time_ns
        for other in traces
        if (other.node, other.key.seq) == (trace.node, trace.key.seq)
        for reset in other.resets
    ]
    ends = [stray.time_ns + near_ns for stray in trace.strays[:-1]] + [END_OF_TIME]
    for stray, end_ns in zip(trace.strays, ends, strict=True):
        if not any(stray.time_ns - near_ns <= answer < end_ns for answer in answers):
            raise ElementFailed(
                f"frame {stray.frame}: {trace.node} did not answer that stray"
            )


def _same_count(expected: Segments, seen: Segments, of: str, what: str) -> None:
    if len(seen) != len(expected):
        raise ElementFailed(f"{len(expected)} {of}, but {len(seen)} {what}")


def _follow(first: Segments, then: Segments, what: str, after: str) -> None:
    """Raises unless each of ``then`` has a counterpart in ``first``, and is not earlier."""
    for index, segment in enumerate(then):
        if index >= len(first):
            raise ElementFailed(f"frame {segment.frame}: {what} without {after}")
        if segment.time_ns < first[index].time_ns:
            raise ElementFailed(f"frame {segment.frame}: {what} before {after}")


def _exactly(
    seen: Mapping[str, Segments],
    must: Iterable[str],
    may: Iterable[str],
    count: int,
    source: str,
) -> None:
    for name in sorted(must):
        received = len(seen.get(name, ()))
        if received < count:
            raise ElementFailed(f"{name} got {received} copies of {count} {source}")
    allowed = set(may)
    for name, copies in seen.items():
        if name not in allowed or len(copies) > count:
            raise ElementFailed(f"frame {copies[-1].frame}: a copy too many to {name}")


def _owner_state(outcome: Outcome) -> str:
    if outcome.owner_failed:
        return "had failed"
    return "still holds it" if outcome.freed_ns is None else "freed it by itself"


def _first_frames(copies: Mapping[str, Segments], outcome: Outcome) -> str:
    """``c1 frame 9 +1.2 ms, c2 frame 10 +1.3 ms, ... 3 more``."""
    shown = [f"{name} {_at(seen[0], outcome)}" for name, seen in sorted(copies.items())]
    rest = f", … {len(shown) - 4} more" if len(shown) > 4 else ""
    return ", ".join(shown[:4]) + rest


def _names(copies: Mapping[str, Segments]) -> str:
    return ", ".join(sorted(copies)) or "no chassis"


def _at(segment: Observation, outcome: Outcome) -> str:
    return f"frame {segment.frame} {_after(segment.time_ns, outcome)}"


def _after(time_ns: int, outcome: Outcome) -> str:
    """The time since the event that moved the connection."""
    return f"+{(time_ns - (outcome.moved_ns or outcome.opened_ns)) / 1e6:.3f} ms"
