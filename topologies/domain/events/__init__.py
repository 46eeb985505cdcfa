"""Events: one small module each; membership events have a line in the registry below."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.events.event import Event, EventError, MachineActions
from topologies.domain.events.link_change import LINK, link_change
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.registry import gathered

__all__ = [
    "EVENTS",
    "LINK",
    "Event",
    "EventError",
    "MachineActions",
    "event_of",
    "parse_events",
]

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

#: Every kind of membership event, by the name that specifications use.
EVENTS: dict[str, Event] = {
    event.kind: event for event in gathered(__name__, _MODULES, Event)
}


def event_of(kind: str, link: LinkOptions = UNSHAPED) -> Event:
    """The event of that kind. ``link``: the shaping, for kind ``link``.

    Raises :class:`KeyError` for an unknown kind.
    """
    return link_change(link) if kind == LINK else EVENTS[kind]


def parse_events(words: Sequence[str]) -> list[tuple[str, str]]:
    """Parse events from the command line: a kind and its target, one or more times.

    Raises :class:`EventError` for an unknown kind or a missing target.

    >>> parse_events(["drain-node", "c1n2", "fail-chassis", "c2"])
    [('drain-node', 'c1n2'), ('fail-chassis', 'c2')]
    """
    kinds, targets = words[::2], words[1::2]
    for kind in kinds:
        if kind not in EVENTS:
            hint = "use ./resetbed link HOST" if kind == LINK else ""
            known = f"there are: {', '.join(EVENTS)}"
            raise EventError(f"no event {kind!r}; {hint or known}")
    if len(kinds) != len(targets) or not words:
        missing = EVENTS[kinds[-1]].target if words else "KIND TARGET"
        raise EventError(f"an event is a kind and its target; missing: {missing}")
    return list(zip(kinds, targets, strict=True))
