"""How long connections that did not move waited for answers: pure.

The figures cover the connections that were open when an event was requested and that no
event moved: the same connections before and after. *Before* are the waits that began
after the clients were steady and ended before the first event was requested. *After* are
those that ended later, or had not ended at the end of the observation; the length of the
latter is a lower bound.

:mod:`experiments.analysis.dialogue` defines a wait. No policy promises anything about
their length: the copies of a fan-out use the same queues as all answers.
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
    """Lengths of waits in ms. ``still_waiting``: waits that had not ended at the end."""

    before: Percentiles
    after: Percentiles
    still_waiting: int


def waiting_unmoved(
    outcomes: Iterable[Outcome],
    dialogues: Mapping[FourTuple, Sequence[Dialogue]],
    requested_ns: Sequence[int],
    steady_ns: int,
) -> Waiting:
    """The waits of unmoved connections, as seen at their clients' ports.

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
    """The waits of the socket's dialogue: the last one that began before it opened."""
    index = bisect_right(
        dialogues, outcome.opened_ns, key=lambda dialogue: dialogue.began_ns
    )
    if index:
        ended = outcome.ended_ns is not None
        yield from dialogues[index - 1].waits(outcome.ended_ns or outcome.end_ns, ended)


def _figures(waits: Iterable[Wait]) -> Percentiles:
    return percentiles(wait.length_ns / _NS_PER_MS for wait in waits)
