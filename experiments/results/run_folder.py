"""Reads a run's folder: figures, connections, and the states of its cluster.

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
from topologies.domain.events import LINK, event_of
from topologies.domain.events.instant import resolve_events

#: The model beside this run, if it was held against it (``./resetbed model --against``).
AGREEMENT = "agreement.json"
_MS = 1e3
#: Keys that a summary must have.
_NEEDED = (
    *("policy", "events", "connections", "half_open", "packets", "claim"),
    *("moved_connections", "expectations", "outcome", "provenance"),
)
#: Times in place of the first two events, where a run has fewer.
_NEVER = (float("inf"), float("inf"))


class HalfOpen(NamedTuple):
    """The half-open interval of a connection, CLOCK_REALTIME seconds.

    ``censored``: it was still half open when the observation ended, at ``end_s``.
    """

    start_s: float
    end_s: float
    censored: bool

    @property
    def lifetime_ms(self) -> float:
        """Its lifetime; a lower bound if it is censored."""
        return (self.end_s - self.start_s) * _MS


class ConnectionRow(NamedTuple):
    """One line of ``connections.jsonl``, and its half-open interval."""

    fields: Mapping[str, Any]
    half_open: HalfOpen | None


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run that has a summary."""

    path: Path
    summary: Mapping[str, Any]
    #: The lines of ``connections.jsonl``.
    connections: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """The run in that folder. Raises :class:`OSError`; :class:`ValueError` if it is
        incomplete, or of a version without outcomes."""
        lines = (path / "connections.jsonl").read_text().splitlines()
        summary = json.loads((path / "summary.json").read_text())
        if missing := [key for key in _NEEDED if key not in summary]:
            raise ValueError(f"{path}: the summary has no {', '.join(missing)}")
        connections = [json.loads(line) for line in lines]
        if any("half_open_s" not in fields for fields in connections):
            raise ValueError(f"{path}: of an earlier version; analyse it again")
        return cls(path, summary, connections)

    @cached_property
    def spec(self) -> RunSpec:
        """The resolved spec."""
        data = yaml.safe_load((self.path / "spec.yaml").read_text())
        return RunSpec.model_validate(data)

    @cached_property
    def states(self) -> tuple[ClusterState, ...]:
        """The cluster's states before the first event and after each instant of events,
        computed by the events' rules."""
        states = [self.spec.state()]
        for instant in self.instants():
            events = [(event_of(event["kind"]), event["target"]) for event in instant]
            steps = resolve_events(states[-1].arrangement, events)
            states.append(states[-1].after(steps[-1].new))
        return tuple(states)

    def instants(self) -> list[list[Mapping[str, Any]]]:
        """The events of the summary, grouped by instant."""
        events = self.summary["events"]
        return [list(instant) for _, instant in groupby(events, key=_requested_s)]

    @cached_property
    def rows(self) -> tuple[ConnectionRow, ...]:
        """Every connection, with its half-open interval if it had one."""
        return tuple(
            ConnectionRow(fields, _half_open(fields)) for fields in self.connections
        )

    def moved_first(self) -> frozenset[str]:
        """The connections open at the first events that these moved to another node.

        Changes of links move none, and do not count.
        """
        changes = [i for i in self.instants() if any(e["kind"] != LINK for e in i)]
        requested = [*(_requested_s(i[0]) for i in changes), *_NEVER]
        return frozenset(
            fields["connection"]
            for fields in self.connections
            if fields["moved"]
            and fields["opened_s"] < requested[0]
            and fields["moved_s"] < requested[1]
        )

    def state_at(self, time_s: float) -> ClusterState:
        """The state that was requested last at that instant."""
        begun = [i for i in self.instants() if _requested_s(i[0]) <= time_s]
        return self.states[len(begun)]


def _requested_s(event: Mapping[str, Any]) -> float:
    """When an event was requested: the same for all of one instant."""
    return float(event["requested_s"])


def _half_open(fields: Mapping[str, Any]) -> HalfOpen | None:
    """The half-open interval, as computed by the analysis."""
    if fields["half_open_s"] is None:
        return None
    start_s, end_s = fields["half_open_s"]
    return HalfOpen(start_s, end_s, fields["half_open_at_end"])
