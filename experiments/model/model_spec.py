"""The spec of a computation: a run's spec, and beside it the section ``model``.

Every key of a run's spec means the same, so each shipped scenario is one. Without
``model.connections`` the connections are those that the run's clients open. The cluster's
size, and what links, guard and capture do to a run, are no limits here.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from controller.pipeline.horizon import horizon_known
from controller.policies import POLICIES
from controller.policies.questions import Memory
from experiments.model import durations
from experiments.model.churn import Churn, changes_by_chance, grid
from experiments.model.conduct import Conduct, Delays
from experiments.model.durations import Durations
from experiments.model.engine import Computation
from experiments.model.membership_changes import Changes, changes_of
from experiments.model.population import Arrivals, Habits, Population, Slots, Trace
from experiments.prediction.predict import split_evenly
from experiments.spec.run_spec import RunSpec, Strict
from experiments.spec.spec_file import SpecError, find_spec, load_spec
from experiments.workloads import WORKLOADS
from nodes.clients.patterns import PATTERNS
from topologies.domain.events.link_change import described

#: Shipped specs that only the model can compute.
SPECS = Path(__file__).with_name("specs")


class Endless(Strict):
    """Connections that never end by themselves."""

    kind: Literal["endless"] = "endless"

    def durations(self) -> Durations:
        """The distribution."""
        return durations.endless()


class Fixed(Strict):
    """All last equally long."""

    kind: Literal["fixed"]
    seconds: float = Field(gt=0)

    def durations(self) -> Durations:
        """The distribution."""
        return durations.fixed(self.seconds)


class Exponential(Strict):
    """Memoryless."""

    kind: Literal["exponential"]
    mean_s: float = Field(gt=0)

    def durations(self) -> Durations:
        """The distribution."""
        return durations.exponential(self.mean_s)


class Lognormal(Strict):
    """``sigma``: standard deviation of the natural logarithm."""

    kind: Literal["lognormal"]
    median_s: float = Field(gt=0)
    sigma: float = Field(gt=0, le=5)

    def durations(self) -> Durations:
        """The distribution."""
        return durations.lognormal(self.median_s, self.sigma)


class Pareto(Strict):
    """P(duration > x) = (minimum_s / x) ** alpha."""

    kind: Literal["pareto"]
    minimum_s: float = Field(gt=0)
    alpha: float = Field(gt=1)

    def durations(self) -> Durations:
        """The distribution."""
        return durations.pareto(self.minimum_s, self.alpha)


class Weibull(Strict):
    """P(duration > x) = exp(-(x / scale_s) ** shape)."""

    kind: Literal["weibull"]
    scale_s: float = Field(gt=0)
    shape: float = Field(gt=0.1)

    def durations(self) -> Durations:
        """The distribution."""
        return durations.weibull(self.scale_s, self.shape)


class Quantiles(Strict):
    """As measured: equally spaced quantiles, smallest and largest included."""

    kind: Literal["quantiles"]
    seconds: tuple[float, ...]

    @model_validator(mode="after")
    def _ascend(self) -> Quantiles:
        self.durations()  # raises for quantiles that are none
        return self

    def durations(self) -> Durations:
        """The distribution."""
        return durations.empirical(self.seconds)


AnyDurations = Annotated[
    Endless | Fixed | Exponential | Lognormal | Pareto | Weibull | Quantiles,
    Field(discriminator="kind"),
]


class ChurnSpec(Strict):
    """Members that leave by chance, and come back."""

    per_s: float = Field(gt=0, description="how many leave a second, on average")
    outage: AnyDurations = Exponential(kind="exponential", mean_s=60.0)
    planned_share: float = Field(
        default=1.0, ge=0, le=1, description="of the nodes: drained; the others fail"
    )
    chassis_share: float = Field(
        default=0.0, ge=0, le=1, description="of the events: a whole chassis fails"
    )


class DelaysSpec(Strict):
    """Seconds; see :class:`~experiments.model.conduct.Delays`."""

    reset_s: float = Field(default=Delays.reset_s, ge=0)
    copy_s: float = Field(default=Delays.copy_s, ge=0)
    out_of_band_s: float = Field(default=Delays.out_of_band_s, ge=0)
    at_event_s: float = Field(default=Delays.at_event_s, ge=0)
    keepalive_s: float = Field(default=Delays.keepalive_s, gt=0)
    give_up_s: float = Field(default=Delays.give_up_s, gt=0)
    pin_s: float = Field(default=Delays.pin_s, ge=0)
    ack_delay_s: float = Field(default=Delays.ack_delay_s, ge=0)


class ModelSection(Strict):
    """What only a computation has."""

    connections: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="open at the start; as many on average arrive as end. "
        "None: those of the workload",
    )
    clients: int = Field(default=60_000, ge=1, le=65_535)
    durations: AnyDurations = Endless()
    trace: Path | None = Field(
        default=None, description="CSV of start_s and duration_s: these connections"
    )
    interval_s: float | None = Field(
        default=None, gt=0, description="between two segments; None: the workload's"
    )
    idle_share: float = Field(default=0.0, ge=0, le=1)
    idle_interval_s: float = Field(default=60.0, gt=0)
    lock_share: float | None = Field(
        default=None, ge=0, le=1, description="of the connections: they hold locks"
    )
    locks: int = Field(default=1, ge=1, le=255, description="of each of these")
    reconnect_s: float = Field(default=0.0, ge=0, description="after a reset")
    node_slots: int | None = Field(
        default=None, ge=1, description="connections that a node holds at most"
    )
    pin_bytes: int = Field(default=1024, ge=1, description="memory of one pinned entry")
    churn: ChurnSpec | None = None
    for_s: float | None = Field(
        default=None, gt=0, description="None: observe_s beyond the last event"
    )
    delays: DelaysSpec = DelaysSpec()


class ModelSpec(RunSpec):
    """A run's spec, and what only a computation has."""

    model: ModelSection = ModelSection()

    @model_validator(mode="after")
    def _can_be_computed(self) -> ModelSpec:
        model = self.model
        if self.cluster.pins is not None:
            raise ValueError(
                "cluster.pins: a full table of pins is not computed; leave it out"
            )
        if model.churn is not None and model.for_s is None:
            raise ValueError("model.for_s: churn never ends by itself; say how long")
        if model.churn is not None and self.events:
            raise ValueError("model.churn: a spec has either churn or events, not both")
        if model.connections is not None and model.trace is not None:
            raise ValueError("model.trace: has its own connections; leave those out")
        return self

    @property
    def horizon_s(self) -> float:
        """Until when it is computed; 0 is when the clients are steady."""
        if self.model.for_s is not None:
            return self.model.for_s
        return (self.events[-1].at if self.events else 0.0) + self.observe_s

    def lasting(self, seconds: float, at_event_s: float) -> ModelSpec:
        """The same, computed for so long, with that delay."""
        delays = self.model.delays.model_copy(update={"at_event_s": at_event_s})
        model = self.model.model_copy(update={"for_s": seconds, "delays": delays})
        return self.model_copy(update={"model": model})

    @property
    def conduct(self) -> Conduct:
        """What is done with moved connections."""
        delays = Delays(**self.model.delays.model_dump())
        within_s = self.heal_within_s if self.healing else None
        policy, balancer = POLICIES[self.policy], self.state().balancer
        if policy.memory is Memory.MOVABLE and not horizon_known(balancer):
            policy = replace(policy, memory=Memory.CONNECTIONS)
        return Conduct(policy, delays, within_s)

    def changes(self) -> Changes:
        """The cluster's course."""
        churn, balancer = self.model.churn, self.state().balancer
        if churn is not None:
            members = grid(self.cluster.chassis, self.cluster.nodes)
            by_chance = Churn(
                churn.per_s,
                churn.outage.durations(),
                churn.planned_share,
                churn.chassis_share,
            )
            until = self.horizon_s
            return changes_by_chance(members, balancer, by_chance, until, self.seed)
        labels = [
            (
                instant[0].at,
                ", ".join(
                    described(event.kind, target, event.link)
                    for event, target in self.requests(instant)
                ),
            )
            for instant in self.instants()
        ]
        states = [state.arrangement for state in self.states()]
        return changes_of(states, labels, balancer)

    def population(self) -> Population:
        """The connections."""
        model, workload = self.model, WORKLOADS[self.workload.kind]
        if model.trace is not None:
            starts, lasts = read_trace(model.trace)
            return Trace(
                *(starts, lasts, self.habits, model.clients),
                *(self.seed, self.ip, workload.port),
            )
        if model.connections is not None:
            return Arrivals(
                model.connections,
                model.durations.durations(),
                self.horizon_s,
                self.habits,
                *(model.clients, self.seed, self.ip, workload.port),
            )
        pattern = PATTERNS[self.workload.pattern]
        return Slots(
            split_evenly(self.workload.connections, self.cluster.clients),
            self.habits,
            *(self.steady_s, self.seed, self.ip, workload.port),
            pattern.same_port,
            pattern.work_s,
        )

    @property
    def habits(self) -> Habits:
        """What clients do with a connection."""
        model, pattern = self.model, PATTERNS[self.workload.pattern]
        interval_s = model.interval_s or self.workload.interval_s * pattern.pause_factor
        holds = WORKLOADS[self.workload.kind].lock_monitor is not None
        lock_share = float(holds) if model.lock_share is None else model.lock_share
        rest_s = pattern.rest_s if pattern.work_s is not None else None
        if model.connections is not None:
            rest_s = None
        return Habits(
            interval_s=interval_s,
            idle_share=model.idle_share,
            idle_interval_s=model.idle_interval_s,
            locks=model.locks,
            lock_share=lock_share,
            reconnect_s=model.reconnect_s,
            rest_s=rest_s,
        )

    def computation(self, changes: Changes, population: Population) -> Computation:
        """What there is to compute."""
        return Computation(changes, population, self.conduct, self.horizon_s)


def read_trace(path: Path) -> tuple[durations.Times, durations.Times]:
    """Starts and durations of a trace: CSV with the columns ``start_s`` and
    ``duration_s``; others are left out.

    Raises :class:`SpecError` with the line that is wrong.
    """
    starts, lasts = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                start_s, duration_s = float(row["start_s"]), float(row["duration_s"])
                starts.append(start_s)
                lasts.append(duration_s)
    except OSError as error:
        raise SpecError(f"model.trace: {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        line = len(starts) + 2
        raise SpecError(
            f"model.trace: {path}:{line}: expected the columns start_s and duration_s, "
            "in seconds"
        ) from error
    if not starts:
        raise SpecError(f"model.trace: {path}: no connection in it")
    return np.array(starts), np.array(lasts)


def model_spec_names() -> list[str]:
    """Names of the shipped specs that only the model can compute."""
    return sorted(path.stem for path in SPECS.glob("*.yaml"))


def load_model_spec(name: str, overrides: tuple[str, ...] = ()) -> ModelSpec:
    """The spec of that file, scenario or shipped spec, changed by ``key=value``.

    Raises :class:`SpecError`.
    """
    shipped = SPECS / f"{name}.yaml"
    path = shipped if shipped.is_file() else find_spec(name)
    return load_spec(path, overrides, ModelSpec)
