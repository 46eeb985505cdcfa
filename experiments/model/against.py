"""The model held against a run of the testbed: which connections moved, and how many.

Two comparisons. *Connection by connection*: the run's own connections, opened when they
were, go through the model's tables. The same ones must move. *By counts*: the model opens
the connections itself, and makes them speak by its own clock. Strays, copies and half-open
connections then agree within :data:`BOUNDS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from controller.policies.questions import AtEvent
from experiments.model.durations import Times
from experiments.model.engine import compute
from experiments.model.membership_changes import Changes
from experiments.model.model_spec import ModelSpec
from experiments.model.model_summary import Computed, summary_of
from experiments.model.routes import Mask, Routes
from experiments.model.tuple_hash import Addresses, Hashes
from experiments.results.run_folder import RunFolder
from experiments.spec.spec_file import SpecError
from experiments.verdict.expectations import look_up
from experiments.workloads import WORKLOADS
from topologies.domain.events import LINK
from topologies.domain.plan import client_address

#: Around an event both tables are right for a connection that begins or ends; seconds.
SLACK_S = 0.05
#: For all nodes to read their sockets and to reset some; seconds, on two cores.
_RESETS_TAKE_S = 0.02


class Bound(NamedTuple):
    """How far a figure of the model may be from the measured one: ``share`` of the larger
    of the two, and ``at_least`` in any case. ``each``: and so much for each connection
    that began while an event was under way, and that this event moved: the model has no
    such time."""

    share: float
    at_least: float
    each: float

    def holds(self, computed: float, measured: float, begun: int) -> bool:
        """Whether the two agree, with so many connections begun during an event."""
        allowed = max(self.at_least, self.share * max(computed, measured))
        return abs(computed - measured) <= allowed + begun * self.each


_COUNT = Bound(0.05, 2, 1)
#: Compared figures, by their key in both summaries.
BOUNDS: Mapping[str, Bound] = {
    "connections.moved": _COUNT,
    "connections.reset": _COUNT,
    "connections.hung": _COUNT,
    "connections.silent": _COUNT,
    "half_open.count": _COUNT,
    "half_open.at_end": _COUNT,
    "packets.tier1_copies": Bound(0.05, 6, 3),
    "packets.tier2_copies": Bound(0.05, 18, 9),
}
#: Half-open connections where nodes reset at the event what has moved: only those count
#: whose client was quicker, by milliseconds.
RACE = Bound(0.5, 5, 1)


class Line(NamedTuple):
    """One figure, computed and measured, and whether they agree; None: not measured."""

    key: str
    computed: float
    measured: float | None
    agrees: bool


@dataclass(frozen=True)
class Agreement:
    """The model beside a run. ``compared``: connections; ``between``: those that began or
    ended while an event was under way, which are left out. ``differ``: those that moved in
    one of the two only."""

    policy: str
    compared: int
    between: int
    differ: Sequence[str]
    lines: Sequence[Line]

    @property
    def holds(self) -> bool:
        """Whether all agrees."""
        return not self.differ and all(line.agrees for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "policy": self.policy,
            "connections_compared": self.compared,
            "connections_between": self.between,
            "connections_that_differ": list(self.differ),
            "figures": [line._asdict() for line in self.lines],
            "holds": self.holds,
        }


def agreement(spec: ModelSpec, run: RunFolder) -> Agreement:
    """The model beside the run in that folder, under its policy.

    Raises :class:`SpecError` if the run is of another spec.
    """
    theirs = run.spec.model_dump()
    for key in ("cluster", "balancer", "seed", "ip", "events", "workload"):
        own = spec.model_dump()[key]
        if own != theirs[key]:
            raise SpecError(
                f"{run.path}: its run had another {key}: {theirs[key]}, and the spec "
                f"says {own}; give the run's own {run.path / 'spec.yaml'}"
            )
    same = spec.model_copy(
        update={
            "policy": run.spec.policy,
            "heal": run.spec.heal,
            "heal_within_s": run.spec.heal_within_s,
            "observe_s": run.spec.observe_s,
            "steady_s": run.spec.steady_s,
        }
    )
    changes = same.changes()
    compared, between, differ = _connections(changes, run)
    return Agreement(
        *(run.spec.policy, compared, between, differ), _figures(same, changes, run)
    )


def _connections(changes: Changes, run: RunFolder) -> tuple[int, int, list[str]]:
    """How many connections were compared and how many not; and those that differ."""
    zero = run.summary["observation"]["steady_s"]
    windows = [
        (one["requested_s"] - zero, (one["settled_s"] or one["applied_s"]) - zero)
        for one in (instant[0] for instant in run.instants())
    ]
    timed = [
        replace(change, at=begin)
        for change, (begin, _) in zip(changes.changes, windows, strict=True)
    ]
    rows = [row for row in run.connections if row["owner"] is not None]
    births = np.array([row["opened_s"] for row in rows]) - zero
    ends = np.array([row["reset_s"] or np.inf for row in rows]) - zero
    routes = Routes(replace(changes, changes=timed))
    horizon = run.summary["observation"]["end_s"] - zero
    moved = _moved(routes, run, rows, births, np.minimum(ends, horizon))
    between = np.zeros(len(rows), bool)
    for begin, end in windows:
        for times in (births, ends):
            between |= (times >= begin - SLACK_S) & (times <= end + SLACK_S)
    measured = np.array([row["moved"] for row in rows])
    # One that was reset right after an event had moved, whatever else is unclear.
    between &= ~(measured & moved)
    wrong = (moved != measured) & ~between
    names = [str(row["connection"]) for row in rows]
    differ = [names[place] for place in wrong.nonzero()[0]]
    return int((~between).sum()), int(between.sum()), differ


def _moved(
    routes: Routes,
    run: RunFolder,
    rows: Sequence[Mapping[str, Any]],
    births: Times,
    ends: Times,
) -> Mask:
    """Whether each of the run's connections moves in the model's tables."""
    spec = run.spec
    numbers = {
        client_address(client, spec.ip): client.number - 1
        for client in spec.plan().clients
    }
    ends_of = [_client_end(str(row["connection"])) for row in rows]
    hashes = Hashes(
        Addresses(spec.cluster.clients, spec.ip, WORKLOADS[spec.workload.kind].port),
        np.array([numbers[address] for address, _ in ends_of], np.uint16),
        np.array([port for _, port in ends_of], np.uint16),
    )
    way = routes.way(hashes, None, routes.era_of(births))
    index = np.arange(len(rows))
    era = routes.departures(hashes, index, way.node, way.until, ends)
    moved: Mask = era < routes.eras
    return moved


def _client_end(connection: str) -> tuple[str, int]:
    """Address and port of the client, from a connection as text.

    >>> _client_end("10.1.0.1:20001 > 10.0.0.1:10809")
    ('10.1.0.1', 20001)
    >>> _client_end("[fd00:10:1::1]:20001 > [fd00:10::1]:10809")
    ('fd00:10:1::1', 20001)
    """
    address, _, port = connection.partition(" > ")[0].rpartition(":")
    return address.strip("[]"), int(port)


def _figures(spec: ModelSpec, changes: Changes, run: RunFolder) -> list[Line]:
    """The counts of the model's own connections beside the measured ones; changes happen
    when the run's switches had confirmed them."""
    seen, instants = run.summary["observation"], run.instants()
    applied = [instant[0]["applied_s"] - seen["steady_s"] for instant in instants]
    timed = [
        replace(change, at=at)
        for change, at in zip(changes.changes, applied, strict=True)
    ]
    changes = replace(changes, changes=timed)
    spec = spec.lasting(seen["end_s"] - seen["steady_s"], _at_event_s(instants))
    begun, races = _begun_during_events(run), spec.conduct.policy.at_event
    routes = Routes(changes)
    tally = compute(spec.computation(changes, spec.population()), routes=routes)
    computed = summary_of(Computed(spec, changes, routes, tally))
    lines = []
    for key, usual in BOUNDS.items():
        race = key == "half_open.count" and races is not AtEvent.NOBODY
        bound = RACE if race else usual
        ours, theirs = look_up(computed, key), look_up(run.summary, key)
        agrees = theirs is None or bound.holds(ours, theirs, begun)
        lines.append(Line(key, ours, theirs, agrees))
    return lines


def _at_event_s(instants: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """From a change until nodes reset what has moved: once the switches have settled."""
    settled = [
        (instant[0]["settled_s"] or instant[0]["applied_s"]) - instant[0]["applied_s"]
        for instant in instants
        if any(event["kind"] != LINK for event in instant)
    ]
    return float(np.median(settled or [0.0])) + _RESETS_TAKE_S


def _begun_during_events(run: RunFolder) -> int:
    """How many connections began while an event was under way, and were moved by it."""
    found = 0
    for instant in run.instants():
        begin, end = instant[0]["requested_s"], instant[0]["settled_s"]
        end = end or instant[0]["applied_s"]
        found += sum(
            row["moved_s"] is not None
            and begin <= row["opened_s"] <= end + SLACK_S
            and row["moved_s"] <= row["opened_s"]
            for row in run.connections
        )
    return found
