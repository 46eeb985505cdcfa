"""A run's folder read back: figures, connections, and the states its cluster went through.

Nothing here writes to the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from controller.pipeline.cluster_state import ClusterState
from experiments.spec.run_spec import RunSpec
from topologies.domain.events import EVENTS
from topologies.domain.events.instant import resolve_events

_MS = 1e3
#: What a summary must have to be read at all.
_NEEDED = (
    *("policy", "events", "connections", "half_open", "packets", "claim"),
    *("moved_connections", "expectations", "outcome", "provenance"),
)
#: When the second event was asked for, of a run that has none or one.
_NEVER = (float("inf"), float("inf"))


class HalfOpen(NamedTuple):
    """How long a connection was half open, CLOCK_REALTIME seconds.

    ``censored``: it still was when the observation ended, at ``end_s``.
    """

    start_s: float
    end_s: float
    censored: bool

    @property
    def lifetime_ms(self) -> float:
        """Its lifetime; a lower bound where it is censored."""
        return (self.end_s - self.start_s) * _MS


class Row(NamedTuple):
    """One line of ``connections.jsonl``, and what follows from it."""

    said: Mapping[str, Any]
    half_open: HalfOpen | None


@dataclass(frozen=True)
class RunFolder:
    """One run that came to a summary."""

    path: Path
    summary: Mapping[str, Any]
    said: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """The run in that folder. Raises :class:`OSError`; :class:`ValueError`: what is
        there is not whole, or of a version that did not say what a run came to."""
        lines = (path / "connections.jsonl").read_text().splitlines()
        summary = json.loads((path / "summary.json").read_text())
        if missing := [key for key in _NEEDED if key not in summary]:
            raise ValueError(f"{path}: its summary lacks {', '.join(missing)}")
        said = [json.loads(line) for line in lines]
        if any("half_open_s" not in one for one in said):
            raise ValueError(f"{path}: of an earlier version; analyse it again")
        return cls(path, summary, said)

    @cached_property
    def spec(self) -> RunSpec:
        """The resolved spec."""
        data = yaml.safe_load((self.path / "spec.yaml").read_text())
        return RunSpec.model_validate(data)

    @cached_property
    def states(self) -> tuple[ClusterState, ...]:
        """The cluster before the first event and after each instant of events, by the
        events' own rules."""
        states = [self.spec.state()]
        for instant in self.instants():
            events = [(EVENTS[event["kind"]], event["target"]) for event in instant]
            found = resolve_events(states[-1].arrangement, events)
            states.append(states[-1].becoming(found[-1].new))
        return tuple(states)

    def instants(self) -> list[list[Mapping[str, Any]]]:
        """The events of the summary, those that happened at once together."""
        events = self.summary["events"]
        return [list(instant) for _, instant in groupby(events, key=_asked_s)]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every connection, with its time half open where it had one."""
        return tuple(Row(said, _half_open(said)) for said in self.said)

    def moved_first(self) -> frozenset[str]:
        """The connections, open by then, that the first events gave another owner."""
        asked = [*(_asked_s(instant[0]) for instant in self.instants()), *_NEVER]
        return frozenset(
            said["connection"]
            for said in self.said
            if said["moved"]
            and said["opened_s"] < asked[0]
            and said["moved_s"] < asked[1]
        )

    def state_at(self, time_s: float) -> ClusterState:
        """The state that had been asked for at that instant."""
        begun = [i for i in self.instants() if _asked_s(i[0]) <= time_s]
        return self.states[len(begun)]


def _asked_s(event: Mapping[str, Any]) -> float:
    """When an event was asked for: the same for all of one instant."""
    return float(event["requested_s"])


def _half_open(said: Mapping[str, Any]) -> HalfOpen | None:
    """Its interval, as the analysis found it."""
    if said["half_open_s"] is None:
        return None
    start_s, end_s = said["half_open_s"]
    return HalfOpen(start_s, end_s, said["half_open_at_end"])
