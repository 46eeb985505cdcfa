"""Events at the same instant, applied to the switches as one change; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions


class Timed(Protocol):
    """An event of a spec."""

    @property
    def at(self) -> float:
        """When, in seconds."""


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True)
class EventStep:
    """One event of an instant, with the states before and after it.

    No switch gets the states between the events of an instant.
    """

    event: Event
    target: str
    old: Arrangement
    new: Arrangement

    def apply_to_machines(self, machines: MachineActions) -> None:
        """Perform the event's actions on machines."""
        self.event.apply_to_machines(machines, self.old, self.new, self.target)


def resolve_events(
    state: Arrangement, events: Sequence[tuple[Event, str]]
) -> tuple[EventStep, ...]:
    """The steps of events (each with its target) that happen together in ``state``.

    Each event must be possible after those before it. Raises :class:`EventError` or
    ``PlanError`` for one that is not. Raises :class:`EventError` for two events of
    different kinds with one target, and for two changes of one link: at one instant they
    contradict each other. A node may change together with its link.
    """
    kinds: dict[str, str] = {}
    shaped: set[str] = set()
    steps: list[EventStep] = []
    for event, target in events:
        if event.link is not None:
            other = event.kind if target in shaped else ""
            shaped.add(target)
        else:
            kind = kinds.setdefault(target, event.kind)
            other = "" if kind == event.kind else kind
        if other:
            raise EventError(
                f"{target}: already has a {other} at this instant; choose another time"
            )
        new = event.change(state, target)
        steps.append(EventStep(event, target, state, new))
        state = new
    return tuple(steps)


def machine_order(steps: Iterable[EventStep]) -> list[EventStep]:
    """The order of their actions on machines: losses last, one directly after another."""
    return sorted(steps, key=lambda step: step.event.loss)


def instants(events: Iterable[T]) -> list[tuple[T, ...]]:
    """Events grouped by their times, in order."""
    return [tuple(group) for _, group in groupby(events, key=lambda event: event.at)]
