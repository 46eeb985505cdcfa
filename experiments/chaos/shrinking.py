"""The shortest sequence that still violates: delta debugging; pure.

The algorithm is ddmin (Zeller, Hildebrandt: IEEE Trans. Software Eng. 28 (2002)): remove
a chunk, try again, halve the chunks where nothing can be removed. Trying means running
chaos again, so the number of tries and the time are bounded; what is found is then the
shortest so far. A violation that needs luck may not repeat. So a try that shows none
proves nothing, and what is returned always did violate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from experiments.chaos.chaos_actions import Action

#: Whether these actions violate the same invariant.
Violates = Callable[[Sequence[Action]], bool]
#: Longer pauses are shortened to this, in multiples of the bound of healing.
LONGEST_PAUSE = 3.0


@dataclass
class Limit:
    """At most ``tries`` tries, none begun after ``for_s`` seconds."""

    tries: int
    for_s: float
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """The time runs from here."""
        self._end_s = self.now() + self.for_s
        self.used = 0

    def take(self) -> bool:
        """Whether there is one more try; takes it."""
        if self.used >= self.tries or self.now() >= self._end_s:
            return False
        self.used += 1
        return True


def shrink(
    actions: Sequence[Action], violates: Violates, limit: Limit
) -> tuple[Action, ...]:
    """The shortest part of ``actions`` found that violates; they themselves did."""
    best = tuple(actions)
    chunks = 2
    while len(best) > 1:
        for candidate in _candidates(best, chunks):
            if not limit.take():
                return best
            if violates(candidate):
                best, chunks = candidate, max(2, chunks - 1)
                break
        else:
            if chunks >= len(best):
                return best
            chunks = min(len(best), 2 * chunks)
    return best


def _candidates(
    actions: tuple[Action, ...], chunks: int
) -> Iterator[tuple[Action, ...]]:
    """All without one chunk; earlier chunks first, as the latest action is the likeliest
    cause."""
    ends = [len(actions) * n // chunks for n in range(chunks + 1)]
    for start, end in zip(ends, ends[1:], strict=False):
        yield actions[:start] + actions[end:]


def until(actions: Sequence[Action], end_s: float) -> tuple[Action, ...]:
    """The actions that had begun by then."""
    return tuple(one for one in actions if one.at_s <= end_s)


def without_pauses(actions: Sequence[Action], bound_s: float) -> tuple[Action, ...]:
    """The same actions, with pauses of at most :data:`LONGEST_PAUSE` bounds."""
    longest_s = LONGEST_PAUSE * bound_s
    found, earlier_s, now_s = [], 0.0, 0.0
    for one in actions:
        now_s += min(one.at_s - earlier_s, longest_s)
        earlier_s = one.at_s
        found.append(replace(one, at_s=round(now_s, 3)))
    return tuple(found)
