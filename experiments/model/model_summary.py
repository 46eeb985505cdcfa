"""``model.json``: the figures of a computation, under the names that a run's have.

What a key means that ``summary.json`` has too is in ``docs/results.md``; the others are in
docs/simulation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.policies.questions import OnStray, Travel
from experiments.healing.schedule import DEADLINE
from experiments.model.fan_out_limits import cost_of_a_reset, refused, worst_second
from experiments.model.membership_changes import Changes
from experiments.model.model_spec import ModelSpec
from experiments.model.routes import Routes
from experiments.model.tally import Counts, DurationHistogram, Tally

SCHEMA = 1
#: Points of a course in the file.
POINTS = 400
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class Computed:
    """One policy's counts, and what they are of."""

    spec: ModelSpec
    changes: Changes
    routes: Routes
    tally: Tally


def summary_of(computed: Computed) -> dict[str, Any]:
    """The figures."""
    spec, tally = computed.spec, computed.tally
    limits = _Limits(computed)
    names = ("opened", "closed", "moved", "inevitable", "spoke", "silent", "reset")
    more = ("hung", "hung_returned", "reconnected", "reopened")
    return {
        "schema": SCHEMA,
        "scenario": spec.scenario,
        "policy": spec.policy,
        "balancer": spec.balancer,
        "seed": spec.seed,
        "ip": spec.ip,
        "healing": spec.healing,
        "cluster": {
            "chassis": len(computed.routes.chassis),
            "nodes": len(computed.routes.nodes),
        },
        "horizon_s": spec.horizon_s,
        "connections": {
            **{name: tally.numbers[name] for name in (*names, *more)},
            "limited": int(limits.refused.sum()),
            "live": _course_ends(tally.course("live")),
        },
        "hanging": {
            "count": tally.numbers["hanging"],
            **_course_ends(tally.course("hanging")),
            "held_s": _held_s(tally.course("hanging"), tally.clock.bin_s),
        },
        "half_open": _half_open(tally, limits),
        "reset_latency_ms": _milliseconds(tally.durations.get("reset")),
        "packets": _packets(computed, limits),
        "detours": _course_ends(tally.course("detours")),
        "pins": _pins(computed),
        "harm": _harm(tally, limits),
        "refused": _refused(computed),
        "balance": _balance(computed),
        "events": _events(computed),
        "course": _courses(tally, limits),
    }


class _Limits:
    """What the budget refuses, and what that does to half-open connections."""

    def __init__(self, computed: Computed) -> None:
        tally, conduct = computed.tally, computed.spec.conduct
        clock = tally.clock
        fan_outs = _each_bin(tally, "fan_outs")
        self.copies = _each_bin(tally, "copies")
        routes = computed.routes
        cost = cost_of_a_reset(len(routes.chassis), len(routes.nodes), conduct.policy)
        self.refused = refused(fan_outs, cost, clock.bin_s)
        self.share = np.divide(
            self.refused, fan_outs, out=np.zeros(len(fan_outs)), where=fan_outs > 0
        )
        within_s = conduct.heal_within_s
        self.until_s = (
            conduct.delays.keepalive_s if within_s is None else DEADLINE * within_s
        )
        self.copy_s = conduct.freed_after_s or 0.0
        self.reset_s = conduct.delays.reset_s
        self._clock = clock
        self.half_open = tally.course("half_open") + self._longer(
            self._not_freed(tally, "freed_by_copy")
        )
        self.locks = tally.course("locks_of_nobody") + self._longer(
            self._not_freed(tally, "unlocked_by_copy")
        )

    def _not_freed(self, tally: Tally, name: str) -> Counts:
        """How many of each bin no copy frees, because the budget refused it."""
        kept: Counts = np.rint(_each_bin(tally, name) * self.share).astype(np.int64)
        return kept

    def _longer(self, held_on: Counts) -> Counts:
        """How many more there are in each bin, because no copy freed them."""
        size = len(held_on)
        more = np.zeros(size + 1, np.int64)
        for after_s, sign in ((self.copy_s, 1), (self.until_s, -1)):
            shift = min(size, int(np.ceil(after_s / self._clock.bin_s)))
            more[shift:size] += sign * held_on[: size - shift]
        longer: Counts = np.cumsum(more[:size])
        return longer

    def durations(
        self, tally: Tally, name: str, freed: str, less_s: float = 0.0
    ) -> DurationHistogram:
        """How long that lasts, of which a copy ends what is counted as ``freed``;
        ``less_s``: it begins so much later than the stray comes."""
        both = DurationHistogram()
        held_on = self._not_freed(tally, freed)
        counted = tally.durations.get(name, DurationHistogram())
        both.counts += counted.counts
        total = int(held_on.sum())
        if total:
            end = self._clock.horizon_s
            begins = np.arange(len(held_on)) * self._clock.bin_s
            kept = np.minimum(self.until_s, np.maximum(0.0, end - begins)) - less_s
            some = held_on > 0
            both.add_many(np.maximum(kept[some], 0.0), held_on[some])
            freed_s = np.array([self.copy_s - less_s])
            taken = min(total, both.counted(freed_s))
            both.add_many(freed_s, np.array([-taken]))
        both.longest = max(both.longest, counted.longest)
        return both


def _half_open(tally: Tally, limits: _Limits) -> dict[str, Any]:
    course = limits.half_open
    numbers = tally.numbers
    return {
        "count": numbers["half_open"],
        "peak": int(course.max(initial=0)),
        "at_end": int(course[-1]),
        "returned": numbers["half_open_returned"],
        "out_of_reach": numbers["half_open_unreachable"],
        "held_s": _held_s(course, tally.clock.bin_s),
        "lifetime_ms": _milliseconds(
            limits.durations(tally, "half_open", "freed_by_copy")
        ),
    }


def _packets(computed: Computed, limits: _Limits) -> dict[str, Any]:
    """Packets, and the busiest second: of the whole cluster, and of one link."""
    tally, policy = computed.tally, computed.spec.conduct.policy
    bin_s = tally.clock.bin_s
    granted = 1.0 - limits.share
    sent = np.rint(limits.copies * granted).astype(np.int64)
    fan_outs = _each_bin(tally, "fan_outs") - limits.refused
    strays = _each_bin(tally, "strays")
    copies_per_s, window_s = worst_second(sent, bin_s)
    link_per_s = worst_second(fan_outs, bin_s)[0]
    if policy.travel is Travel.OUT_OF_BAND or not policy.sends_copies:
        link_per_s = 0.0
    whole = int(limits.copies.sum())
    kept = int(sent.sum()) / whole if whole else 1.0
    answers = policy.on_stray is not OnStray.STAY_SILENT
    return {
        "stray": int(strays.sum()),
        "node_resets": int(strays.sum()) if answers else 0,
        "tier1_copies": round(tally.numbers["tier1_copies"] * kept),
        "tier2_copies": round(tally.numbers["tier2_copies"] * kept),
        "worst_s": {
            "window_s": _significant(window_s),
            "strays": _significant(worst_second(strays, bin_s)[0]),
            "copies": _significant(copies_per_s),
            "copies_on_one_link": _significant(link_per_s),
        },
    }


def _pins(computed: Computed) -> dict[str, Any] | None:
    """Pinned entries at both tiers, if the policy pins."""
    if not computed.spec.conduct.policy.pins:
        return None
    at_one_tier = int(computed.tally.course("pins_fabric").max(initial=0))
    entries = int(computed.tally.course("pins").max(initial=0))
    return {
        "entries": {"peak": entries, "fabric": at_one_tier},
        "memory_mib": _significant(entries * computed.spec.model.pin_bytes / 2**20),
    }


def _harm(tally: Tally, limits: _Limits) -> dict[str, Any]:
    course = limits.locks
    waits = limits.durations(tally, "own_lock", "waits_ended_by_copy", limits.reset_s)
    return {
        "locks_of_nobody": {
            **_course_ends(course),
            "held_s": _held_s(course, tally.clock.bin_s),
        },
        "own_lock": {
            "asked": tally.numbers["clients_without_their_lock"],
            "wait_ms": _milliseconds(waits),
        },
    }


def _refused(computed: Computed) -> dict[str, int] | None:
    """Connections for which their node has no slot, at the worst look and at the last."""
    slots = computed.spec.model.node_slots
    if slots is None:
        return None
    held = computed.tally.loads_of("live") + computed.tally.loads_of("kept")
    beyond = np.maximum(0, held - slots).sum(axis=1)
    return {"peak": int(beyond.max()), "at_end": int(beyond[-1])}


def _balance(computed: Computed) -> dict[str, Any]:
    """Connections of the busiest node, divided by the mean over those in service."""
    tally, routes = computed.tally, computed.routes
    looks = tally.clock.looks
    found = []
    for era, loads in zip(
        routes.era_of(np.maximum(looks, -1e-9)), tally.loads_of("live"), strict=True
    ):
        serving = routes.serving(int(era))
        mean = loads[serving].mean()
        found.append(loads[serving].max() / mean if mean else np.nan)
    worst = float(np.nanmax(found)) if not np.isnan(found).all() else None
    return {
        "node_max_over_mean": {
            "before": _number(found[0]),
            "after": _number(found[-1]),
            "worst": None if worst is None else round(worst, 4),
        }
    }


def _events(computed: Computed) -> list[dict[str, Any]]:
    """What each change did. ``hanging``: clients that hung already."""
    tally = computed.tally
    live = tally.live_at_events()
    before = tally.clock.bin_of(np.array(computed.changes.times)) - 1
    hanging = tally.course("hanging")[np.maximum(before, 0)]
    names = ("moved", "inevitable", "broken", "broken_avoidable")
    counts = {name: tally.events_of(name) for name in names}
    return [
        {
            "at": change.at,
            "label": change.label,
            "connections": int(live[number]),
            "hanging": int(hanging[number]),
            **{name: int(counts[name][number]) for name in names},
        }
        for number, change in enumerate(computed.changes.changes)
    ]


def _courses(tally: Tally, limits: _Limits) -> dict[str, Any]:
    """Over time: the highest value of each stretch; times are the ends of these."""
    size = tally.clock.bins
    step = -(-size // POINTS)
    edges = np.arange(0, size, step)
    courses = {
        name: tally.course(name) for name in ("live", "broken", "hanging", "detours")
    }
    courses["half_open"] = limits.half_open
    courses["locks_of_nobody"] = limits.locks
    ends = np.minimum(edges + step, size) - 1
    return {
        "t_s": [_significant(float(t)) for t in ends * tally.clock.bin_s],
        **{
            name: np.maximum.reduceat(course, edges).tolist()
            for name, course in courses.items()
        },
    }


def _each_bin(tally: Tally, name: str) -> Counts:
    counts = tally.courses.get(name)
    size = tally.clock.bins
    return np.zeros(size, np.int64) if counts is None else counts[:size]


def _held_s(course: Counts, bin_s: float) -> float:
    """How long all together: the sum over connections, in seconds."""
    return _significant(float(course.sum()) * bin_s)


def _course_ends(course: Counts) -> dict[str, int]:
    return {"peak": int(course.max(initial=0)), "at_end": int(course[-1])}


def _milliseconds(histogram: DurationHistogram | None) -> dict[str, float | None]:
    if histogram is None or not histogram.counts.sum():
        return dict.fromkeys((*_SHARES, "max"))
    shares = {
        name: _significant((histogram.quantile(share) or 0.0) * 1e3)
        for name, share in _SHARES.items()
    }
    return {**shares, "max": _significant(histogram.longest * 1e3)}


def _number(figure: float) -> float | None:
    return None if np.isnan(figure) else round(float(figure), 4)


def _significant(figure: float) -> float:
    """Six digits: further ones depend on the order of sums."""
    return float(f"{figure:.6g}")
