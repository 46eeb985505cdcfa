"""Which policies keep an administrator's limits, and which of these is cheapest.

Pure: from figures and limits to a ranking. A figure that was not computed keeps no limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from controller.policies.policy import ResetPolicy
from controller.policies.questions import Travel
from experiments.verdict.expectations import look_up


class Limit(NamedTuple):
    """At most ``most`` of the figure ``key``; ``origin``: "default" or "spec"."""

    key: str
    title: str
    most: float
    origin: str


class Choice(NamedTuple):
    """A policy, the limits that it misses, and its figures; None: not computed."""

    policy: str
    missed: tuple[Limit, ...]
    figures: Mapping[str, float | None]


#: What is cheaper comes first; the next figure decides only between equals. A client that
#: hangs gets neither an answer nor an error: nothing that is saved makes up for it.
COST = (
    "hung",
    "pin_memory_mib",
    "detours",
    "copies_per_s_on_one_link",
    "copies_per_s",
    "broken_per_event",
    "half_open_p99_s",
)


def decide(
    figures: Mapping[str, Mapping[str, float | None]], limits: Sequence[Limit]
) -> list[Choice]:
    """Every policy, the best first: those that keep all limits, by :data:`COST`; then
    the others, by how many they miss. Equals stay in their order."""
    choices = [
        Choice(policy, tuple(one for one in limits if not _keeps(own, one)), own)
        for policy, own in figures.items()
    ]
    return sorted(choices, key=lambda one: (len(one.missed), _cost(one.figures)))


def chosen(ranking: Sequence[Choice]) -> Choice | None:
    """The first, if it keeps all limits."""
    return ranking[0] if ranking and not ranking[0].missed else None


def cheaper_by(ranking: Sequence[Choice]) -> str | None:
    """The figure in which the chosen one is cheaper than the next that keeps all limits;
    None if there is no such policy, or no difference."""
    if len(ranking) < 2 or ranking[1].missed:
        return None
    first, second = ranking[0].figures, ranking[1].figures
    return next((key for key in COST if first.get(key) != second.get(key)), None)


def _keeps(figures: Mapping[str, float | None], limit: Limit) -> bool:
    figure = figures.get(limit.key)
    return figure is not None and figure <= limit.most


def _cost(figures: Mapping[str, float | None]) -> tuple[float, ...]:
    found = (figures.get(key) for key in COST)
    return tuple(float("inf") if one is None else one for one in found)


def figures_of(
    summary: Mapping[str, Any], policy: ResetPolicy, half_open_kib: float
) -> dict[str, float | None]:
    """The figures of one policy that limits and costs are about.

    ``half_open_kib``: memory of one half-open connection. What a controller sends to guards
    is not computed, so no copies of such a policy are known.
    """
    p99_ms = look_up(summary, "half_open.lifetime_ms.p99")
    memory_mib = look_up(summary, "pins.memory_mib") if summary["pins"] else None
    half_open = summary["half_open"]
    events = summary["events"]
    counted = policy.travel is not Travel.OUT_OF_BAND
    worst_s = summary["packets"]["worst_s"]
    return {
        "half_open_p99_s": 0.0 if p99_ms is None else p99_ms / 1e3,
        "hung": summary["hanging"]["count"],
        "hung_s": summary["hanging"]["held_s"],
        "broken_per_event": max(
            (one["broken"] + one["hanging"] for one in events), default=0
        ),
        "copies_per_s_on_one_link": worst_s["copies_on_one_link"] if counted else None,
        "copies_per_s": worst_s["copies"] if counted else None,
        "pin_memory_mib": memory_mib if policy.pins else 0.0,
        "detours": summary["detours"]["peak"],
        "locks_of_nobody": summary["harm"]["locks_of_nobody"]["peak"],
        "half_open_memory_mib": half_open["peak"] * half_open_kib / 2**10,
        "half_open_held_s": half_open["held_s"],
        "half_open_at_end": half_open["at_end"],
        "inevitable": summary["connections"]["inevitable"],
    }
