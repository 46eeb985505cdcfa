"""Membership events: one small module each, one line each in the registry below."""

from __future__ import annotations

from experiments.events import (
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
from experiments.events.event import Event, EventError, Hands

__all__ = ["EVENTS", "Event", "EventError", "Hands"]

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
