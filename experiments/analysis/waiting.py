"""How long connections that did not move were kept waiting for answers: pure.

Counted are the connections that were open when an event was requested, and that no event
gave another owner: the same ones before and after. *Before* are the waits that began
after the clients were steady and were over when the first event was requested; *after*
are those that ended later, or were not over at the end of the observation. These count
as far as they were watched: their length is a lower bound.

What a wait is, :mod:`experiments.analysis.dialogue` tells. Nothing is promised of their
length; the copies of a fan-out, for one, stand in the same queues as everybody's answers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.analysis.dialogue import Dialogue, Wait
from experiments.analysis.outcomes import Outcome
from experiments.analysis.statistics import Percentiles, percentiles
from topologies.domain.connection import FourTuple

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Waiting:
    """Lengths in ms. ``still_waiting``: waits that were not over at the end."""

    before: Percentiles
    after: Percentiles
    still_waiting: int


def waiting_unmoved(
    outcomes: Iterable[Outcome],
    dialogues: Mapping[FourTuple, Sequence[Dialogue]],
    requested_ns: Sequence[int],
    steady_ns: int,
) -> Waiting:
    """What the clients of unmoved connections saw at their ports.

    ``requested_ns``: when each event was requested, in the order of time.
    """
    if not requested_ns:
        return Waiting(Percentiles(), Percentiles(), 0)
    waits = [
        wait
        for outcome in outcomes
        if not outcome.moved and _open_at_any(outcome, requested_ns)
        for wait in _waits(outcome, dialogues.get(outcome.connection, ()))
    ]
    first = requested_ns[0]
    return Waiting(
        _figures(w for w in waits if w.begin_ns >= steady_ns and w.end_ns < first),
        _figures(w for w in waits if w.end_ns >= first),
        sum(not wait.over for wait in waits),
    )


def _open_at_any(outcome: Outcome, requested_ns: Sequence[int]) -> bool:
    until = outcome.end_ns if outcome.ended_ns is None else outcome.ended_ns
    return any(outcome.opened_ns <= requested < until for requested in requested_ns)


def _waits(outcome: Outcome, dialogues: Sequence[Dialogue]) -> Iterator[Wait]:
    """Those of the socket's own dialogue: the last one that began before it opened."""
    place = bisect_right(
        dialogues, outcome.opened_ns, key=lambda dialogue: dialogue.began_ns
    )
    if place:
        ended = outcome.ended_ns is not None
        yield from dialogues[place - 1].waits(outcome.ended_ns or outcome.end_ns, ended)


def _figures(waits: Iterable[Wait]) -> Percentiles:
    return percentiles(wait.length_ns / _NS_PER_MS for wait in waits)
