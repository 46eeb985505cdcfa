"""From totals to what there is per second; pure."""

from __future__ import annotations

from collections import defaultdict, deque

#: A rate is that of the last so many seconds.
WINDOW_S = 2.0


class Rates:
    """The rates of several totals, each by a key. Times are of any one clock, in seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: dict[object, deque[tuple[float, int]]] = defaultdict(deque)

    def add(self, key: object, time_s: float, total: int | None) -> None:
        """A total as it was at that time. None, or less than before: a new beginning."""
        samples = self._samples[key]
        if total is None or (samples and total < samples[-1][1]):
            samples.clear()
        if total is None or (samples and time_s <= samples[-1][0]):
            return
        samples.append((time_s, total))
        while len(samples) > 2 and samples[1][0] <= time_s - self._window_s:
            samples.popleft()

    def per_s(self, key: object) -> float | None:
        """The rate of that total over the window; None while fewer than two are known."""
        samples = self._samples.get(key)
        if not samples or len(samples) < 2:
            return None
        (first_s, first), (last_s, last) = samples[0], samples[-1]
        return round((last - first) / (last_s - first_s), 1)

    def moving(self) -> bool:
        """Whether any rate is above 0."""
        return any(self.per_s(key) for key in self._samples)
