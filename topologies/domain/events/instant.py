"""Events of one instant: several changes that the switches learn as one; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions


class Timed(Protocol):
    """An event as a spec has it."""

    @property
    def at(self) -> float:
        """When, in seconds."""


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True)
class EventStep:
    """One of the events of an instant, between the states that it leads from and to.

    No switch ever has the states between the events of an instant.
    """

    event: Event
    target: str
    old: Arrangement
    new: Arrangement

    def apply_to_machines(self, machines: MachineActions) -> None:
        """What happens to machines."""
        self.event.apply_to_machines(machines, self.old, self.new, self.target)


def resolve_events(
    state: Arrangement, events: Sequence[tuple[Event, str]]
) -> tuple[EventStep, ...]:
    """What follows from events (each with its target) that happen at once in ``state``.

    They stand in an order in which each makes sense after those before it. Raises
    :class:`EventError`, or ``PlanError``, for one that does not, and for two of
    different kinds with one target: at one instant they would be a contradiction.
    """
    kinds: dict[str, str] = {}
    found: list[EventStep] = []
    for event, target in events:
        if (kind := kinds.setdefault(target, event.kind)) != event.kind:
            raise EventError(
                f"{target}: at the instant of its {kind}; give one of them another time"
            )
        new = event.change(state, target)
        found.append(EventStep(event, target, state, new))
        state = new
    return tuple(found)


def machine_order(found: Iterable[EventStep]) -> list[EventStep]:
    """The order of their physical sides: losses last and directly one after another."""
    return sorted(found, key=lambda one: one.event.loss)


def instants(events: Iterable[T]) -> list[tuple[T, ...]]:
    """Events in the order of their times, those of equal times together."""
    return [tuple(group) for _, group in groupby(events, key=lambda one: one.at)]
