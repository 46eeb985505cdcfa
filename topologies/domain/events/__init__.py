"""Membership events: one small module each, one line each in the registry below."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.events.event import Event, EventError, MachineActions
from topologies.domain.registry import gathered

__all__ = ["EVENTS", "Event", "EventError", "MachineActions", "parse_events"]

#: A line each, in the order in which they are listed.
_MODULES = (
    "drain_node",
    "fail_node",
    "restore_node",
    "add_node",
    "fail_chassis",
    "restore_chassis",
    "add_chassis",
    "uplink_down",
    "uplink_up",
    "reseed",
)

#: Every kind of event, by the name that specifications use.
EVENTS: dict[str, Event] = {
    event.kind: event for event in gathered(__name__, _MODULES, Event)
}


def parse_events(words: Sequence[str]) -> list[tuple[str, str]]:
    """Parse events from the command line: a kind and its target, one or more times.

    Raises :class:`EventError` for an unknown kind or a missing target.

    >>> parse_events(["drain-node", "c1n2", "fail-chassis", "c2"])
    [('drain-node', 'c1n2'), ('fail-chassis', 'c2')]
    """
    kinds, targets = words[::2], words[1::2]
    for kind in kinds:
        if kind not in EVENTS:
            raise EventError(f"no event {kind!r}; there are: {', '.join(EVENTS)}")
    if len(kinds) != len(targets) or not words:
        missing = EVENTS[kinds[-1]].target if words else "KIND TARGET"
        raise EventError(f"an event is a kind and its target; missing: {missing}")
    return list(zip(kinds, targets, strict=True))
