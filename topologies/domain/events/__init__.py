"""Membership events: one small module each, one line each in the registry below."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.events import (
    add_chassis,
    add_node,
    drain_node,
    fail_chassis,
    fail_node,
    reseed,
    restore_chassis,
    restore_node,
    uplink_down,
    uplink_up,
)
from topologies.domain.events.event import Event, EventError, MachineActions

__all__ = ["EVENTS", "Event", "EventError", "MachineActions", "parse_events"]

EVENTS: dict[str, Event] = {
    event.kind: event
    for event in (
        drain_node.EVENT,
        fail_node.EVENT,
        restore_node.EVENT,
        add_node.EVENT,
        fail_chassis.EVENT,
        restore_chassis.EVENT,
        add_chassis.EVENT,
        uplink_down.EVENT,
        uplink_up.EVENT,
        reseed.EVENT,
    )
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
