"""What a run must show to count as expected: exit status 0 or 1 hangs on this.

An expectation is a dotted key of ``summary.json`` and a condition: a number or a text
(equal), or an operator and a number or another key, e.g. ``"> 0"`` or
``"== connections.moved"``. Some hold for every run, some come with the policy, the
rest stand in the spec's ``expect``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Condition = str | int | float

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}

#: True of every design: who did not move is not disturbed, what was acknowledged stays.
ALWAYS: Mapping[str, Condition] = {
    "connections.broken_unmoved": 0,
    "data.lost_writes": 0,
    "measurement.owners_not_as_predicted": 0,
    "measurement.arrivals_not_as_predicted": 0,
    "measurement.clients_without_summary": 0,
}

#: Events that are somebody's intention; the others happen to a cluster.
PLANNED = frozenset(
    (
        "drain-node",
        "restore-node",
        "add-node",
        "add-chassis",
        "restore-chassis",
        "uplink-up",
        "reseed",
    )
)

#: What the designs that avoid resets promise where every event is planned.
WHEN_PLANNED: Mapping[str, Mapping[str, Condition]] = {
    "stateful": {"connections.reset": 0, "connections.reconnected": 0},
    "second-chance": {"connections.reset": 0, "connections.reconnected": 0},
}

#: More changes than these move a connection out of a policy's reach.
MOST_EVENTS: Mapping[str, int] = {"second-chance": 1}

#: What copies could reach is freed: half open is only what none could, because its
#: chassis was cut off when they were made.
_ALL_IN_REACH_FREED = "== half_open.out_of_reach"

#: What each reset policy promises.
BY_POLICY: Mapping[str, Mapping[str, Condition]] = {
    "drop": {"connections.reset": 0, "packets.node_resets": 0},
    "client-only": {"connections.hung": 0, "packets.tier1_copies": 0},
    "flood": {"connections.hung": 0, "half_open.at_end": _ALL_IN_REACH_FREED},
    "flood-others": {"connections.hung": 0, "half_open.at_end": _ALL_IN_REACH_FREED},
    "directed": {"connections.hung": 0, "half_open.at_end": _ALL_IN_REACH_FREED},
    "out-of-band": {
        "connections.hung": 0,
        "half_open.at_end": _ALL_IN_REACH_FREED,
        "packets.tier1_copies": 0,
    },
    "stateful": {"connections.hung": 0},
    "second-chance": {"connections.hung": 0},
    "proactive": {
        "connections.hung": 0,
        "half_open.at_end": _ALL_IN_REACH_FREED,
        "measurement.half_open_by_socket_tables": _ALL_IN_REACH_FREED,
        "packets.tier1_copies": 0,
    },
}


@dataclass(frozen=True)
class Outcome:
    """One expectation held against a summary."""

    key: str
    condition: Condition
    found: Any
    met: bool

    def __str__(self) -> str:
        word = "met" if self.met else "NOT met"
        return f"{self.key} {self.condition}: {word} (found {self.found})"


def expected(
    policy: str,
    of_spec: Mapping[str, Condition],
    events: Sequence[Collection[str]] = (),
) -> dict[str, Condition]:
    """All that a run with this policy must show; the spec's word is the last.

    ``events``: the kinds of its events, those that happen at once together.
    """
    planned_all = all(PLANNED.issuperset(kinds) for kinds in events)
    kept = planned_all and len(events) <= MOST_EVENTS.get(policy, len(events))
    planned = WHEN_PLANNED.get(policy, {}) if kept else {}
    return {**ALWAYS, **BY_POLICY.get(policy, {}), **planned, **of_spec}


def check(
    summary: Mapping[str, Any], conditions: Mapping[str, Condition]
) -> list[Outcome]:
    """Each condition held against the summary; a key that it lacks is not met."""
    return [
        _check_one(summary, key, condition) for key, condition in conditions.items()
    ]


def look_up(summary: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = summary
    for key in dotted.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _check_one(summary: Mapping[str, Any], key: str, condition: Condition) -> Outcome:
    found = look_up(summary, key)
    symbol, wanted = _parse(condition)
    if isinstance(wanted, str) and look_up(summary, wanted) is not None:
        wanted = look_up(summary, wanted)
    try:
        met = found is not None and _OPERATORS[symbol](found, wanted)
    except TypeError:
        met = False
    return Outcome(key, condition, found, met)


def _parse(condition: Condition) -> tuple[str, Condition]:
    """Operator and right-hand side; a bare value means equality."""
    if not isinstance(condition, str):
        return "==", condition
    symbol, _, rest = condition.strip().partition(" ")
    if symbol not in _OPERATORS:
        return "==", condition
    try:
        return symbol, float(rest)
    except ValueError:
        return symbol, rest.strip()
