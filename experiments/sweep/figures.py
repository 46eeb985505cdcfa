"""The figures by which designs are compared, and the better direction of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.verdict.expectations import look_up

LOWER, HIGHER = "lower", "higher"


class Figure(NamedTuple):
    """One figure of a run.

    ``keys``: dotted keys of ``summary.json``, all numbers. ``better``: None if no direction
    is better. ``combine`` computes the figure from the values of the keys, their sum by
    default; it returns None if there is no figure.
    """

    name: str
    title: str
    keys: tuple[str, ...]
    better: str | None = LOWER
    unit: str = ""
    combine: Callable[[Sequence[float]], float | None] = sum

    def of(self, summary: Mapping[str, Any]) -> float | None:
        """The figure in a summary; None if nothing was measured."""
        values = [look_up(summary, key) for key in self.keys]
        if any(value is None for value in values):
            return None
        figure = self.combine(values)
        return None if figure is None else float(figure)


#: In the order of the tables.
FIGURES: list[Figure] = [
    Figure("moved", "Connections moved", ("connections.moved",)),
    Figure("hung", "Clients hung", ("connections.hung",)),
    Figure("reset", "Clients reset", ("connections.reset",), None),
    Figure("broken", "Unmoved connections disturbed", ("connections.broken_unmoved",)),
    Figure(
        "waiting_before",
        "Unmoved kept waiting, max before the event",
        ("waiting_unmoved_ms.before.max",),
        None,
        unit="ms",
    ),
    *(
        Figure(
            f"waiting_{share}",
            f"Unmoved kept waiting, {share}",
            (f"waiting_unmoved_ms.after.{share}",),
            unit="ms",
        )
        for share in ("p50", "p99", "max")
    ),
    Figure("left", "Half-open left on nodes", ("half_open.at_end",)),
    Figure(
        "lifetime", "Half-open lifetime, p50", ("half_open.lifetime_ms.p50",), unit="ms"
    ),
    Figure(
        "lifetime_max",
        "Half-open lifetime, max",
        ("half_open.lifetime_ms.max",),
        unit="ms",
    ),
    Figure(
        "in_vain", "Held in vain by an owner, max", ("healing.longest_ms",), unit="ms"
    ),
    Figure("latency", "Reset latency, p50", ("reset_latency_ms.p50",), unit="ms"),
    Figure("latency_max", "Reset latency, max", ("reset_latency_ms.max",), unit="ms"),
    Figure(
        "unlocked",
        "Wait for one's own lock, p50",
        ("harm.own_lock.wait_ms.p50",),
        unit="ms",
    ),
    Figure(
        "locked_out", "Still wait for their own lock", ("harm.own_lock.still_waiting",)
    ),
    Figure("orphans", "Locks of nobody at the end", ("harm.locks_of_nobody.at_end",)),
    Figure("refused", "Connections refused", ("harm.refused_connections",)),
    Figure("slots", "Slots of nobody at the end", ("harm.slots.held_by_nobody",)),
    Figure(
        "shut_out",
        "Clients that do not get back in",
        ("harm.slots.without_connection",),
    ),
    Figure("strays", "Stray segments", ("packets.stray",), None),
    Figure(
        "copies", "Fan-out copies", ("packets.tier1_copies", "packets.tier2_copies")
    ),
    Figure("written", "Writes acknowledged", ("data.acknowledged_writes",), HIGHER),
    Figure("lost", "Acknowledged writes lost", ("data.lost_writes",)),
]


def is_lower_bound(summary: Mapping[str, Any], figure: Figure) -> bool:
    """Whether the figure is a lifetime that went beyond the end of the observation."""
    share = {"lifetime": 0.5, "lifetime_max": 1.0}.get(figure.name)
    if share is None:
        return False
    left = summary["half_open"]["at_end"]
    count = summary["half_open"]["count"]
    return bool(left and count - left < share * count)
