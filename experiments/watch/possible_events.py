"""The events that a cluster would accept now, for buttons; pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS, EventError
from topologies.domain.plan import FABRIC, Plan, PlanError

#: Words for a button, where kind and target alone would not say it.
_LABELS = {
    "add-node": "Add a node to {}",
    "add-chassis": "Add chassis {}",
    "uplink-down": "Uplink of {} down",
    "uplink-up": "Uplink of {} up",
    "reseed": "Reseed {}",
}


@lru_cache(maxsize=8)
def possible_events(state: Arrangement) -> tuple[dict[str, Any], ...]:
    """Each with ``kind``, ``target``, ``label``, and ``danger``: it takes power or a carrier.

    Every kind is tried on everything that has a name, so a new kind needs no line here.
    """
    return tuple(
        {
            "kind": kind,
            "target": target,
            "label": _label(kind, target),
            "danger": event.loss,
        }
        for kind, event in EVENTS.items()
        for target in _targets(state.plan)
        if _is_possible(state, kind, target)
    )


def _is_possible(state: Arrangement, kind: str, target: str) -> bool:
    try:
        EVENTS[kind].change(state, target)
    except (EventError, PlanError):
        return False
    return True


def _targets(plan: Plan) -> Iterator[str]:
    yield from (node.name for node in plan.nodes)
    yield from (chassis.name for chassis in plan.chassis)
    yield f"c{len(plan.chassis) + 1}"
    yield from (FABRIC, "all")


def _label(kind: str, target: str) -> str:
    if kind in _LABELS:
        return _LABELS[kind].format(target)
    verb = kind.removesuffix("-node").removesuffix("-chassis").replace("-", " ")
    return f"{verb.capitalize()} {target}"
