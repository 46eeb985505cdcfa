"""What ended connections that did not move: pure.

Nobody may be disturbed who did not move. Where one is, the frame that did it and its sender
are what one asks for first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from experiments.analysis.observations import RST, Observation
from experiments.analysis.outcomes import Outcome
from topologies.domain.connection import VIPS, FourTuple, format_connection


def disturbed(
    outcomes: Sequence[Outcome],
    observations: Iterable[Observation],
    since_ns: int,
) -> list[str]:
    """A line for each connection that did not move, but was reset or lost.

    ``since_ns``: instants in the lines count from there.
    """
    broken = [outcome for outcome in outcomes if outcome.broken_unmoved]
    resets: dict[FourTuple, list[Observation]] = defaultdict(list)
    if broken:
        for segment in observations:
            if segment.flags & RST and segment.src in VIPS and segment.connection:
                resets[segment.connection].append(segment)
    return [_line(one, resets.get(one.connection, ()), since_ns) for one in broken]


def _line(outcome: Outcome, resets: Sequence[Observation], since_ns: int) -> str:
    def at(time_ns: int) -> str:
        return f"{(time_ns - since_ns) / 1e6:+.3f} ms"

    ended_ns = outcome.reset_ns or outcome.ended_ns or outcome.end_ns
    how = "reset" if outcome.reset else "ended without a reset"
    seen = [one for one in resets if outcome.opened_ns <= one.time_ns <= ended_ns]
    text = (
        f"{format_connection(outcome.connection)} at {outcome.owner}: opened "
        f"{at(outcome.opened_ns)}, {how} {at(ended_ns)}"
    )
    if not seen:
        return f"{text}; no reset of it was captured"
    first = seen[0]
    return f"{text}; frame {first.frame} {at(first.time_ns)} {first.flag_names} at {first.label}"
