"""Lines of the table for the wait of unmoved connections during waves of resets."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.bench.basis.figure import Line
from experiments.bench.basis.not_computable import ratio
from experiments.display.render import milliseconds

_SHARES = ("p50", "p99", "max")


def waiting_lines(title: str, waits: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """The longest wait, and the longest before the event, as medians over the waves.

    ``waits``: :attr:`Wave.waiting` of each wave. There is no bound. If every connection
    moved, there is no line, and :func:`waiting_remark` says so. Raises
    :class:`NotComputableError` if nobody waited before the event.
    """
    during, before = (
        [found for wait in waits if (found := wait[when]["max"]) is not None]
        for when in ("during", "before")
    )
    if during and before:
        longest, usual = statistics.median(during), statistics.median(before)
        yield Line(
            title=f"{title}: unmoved kept waiting, max",
            unit="ms",
            ours=longest,
            reference=usual,
            reference_is="the same burst of requests before the event",
            value=ratio(longest, usual, f"{title}: the wait before the event"),
            spread=(min(during), max(during)),
            remarks=[waiting_remark(wait) for wait in waits],
        )


def waiting_remark(wait: Mapping[str, Any]) -> str:
    """The waits of one wave, as a sentence."""
    if not wait["connections"]:
        return "no connection stayed unmoved, to be kept waiting"
    during, before = (
        ", ".join(
            f"{share} {milliseconds(found)}"
            for share in _SHARES
            if (found := wait[when][share]) is not None
        )
        for when in ("during", "before")
    )
    return f"{wait['connections']} unmoved kept waiting: {during}; before: {before}"
