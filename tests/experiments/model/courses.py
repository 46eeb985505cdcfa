"""Small random courses of a cluster, and the same connections for model and oracle."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from controller.balancers import BALANCERS
from controller.policies import POLICIES
from experiments.model.conduct import Conduct, Delays
from experiments.model.engine import Computation
from experiments.model.flows import Flows
from experiments.model.membership_changes import changes_of
from experiments.model.population import Habits, Slots
from experiments.model.routes import Routes
from topologies.domain.arrangement import Arrangement
from topologies.domain.connection import FourTuple
from topologies.domain.events import EVENTS, EventError
from topologies.domain.forecast import forecast
from topologies.domain.membership import Membership
from topologies.domain.plan import Client, Plan, PlanError, client_address, vip

PORT, HORIZON_S, CLIENTS = 10809, 20.0, 3


@dataclass(frozen=True)
class SmallCourse:
    """The states of a cluster with their times, and connections."""

    states: list[Arrangement]
    times: list[float]
    balancer: str
    ip: int
    flows: Flows

    @property
    def tuples(self) -> list[FourTuple]:
        """The 4-tuple of each connection."""
        return [
            FourTuple(
                client_address(Client(int(client) + 1), self.ip),
                int(port),
                vip(self.ip),
                PORT,
            )
            for client, port in zip(self.flows.clients, self.flows.ports, strict=True)
        ]

    def owners(self) -> list[list[str | None]]:
        """By the forecast: in each state, the node of each connection."""
        balancer = BALANCERS[self.balancer]
        return [
            [forecast(s.plan, s.membership, balancer).owner_of(c) for c in self.tuples]
            for s in self.states
        ]

    def computation(
        self, policy: str, heal_within_s: float | None = None
    ) -> Computation:
        """The same for the model."""
        labels = [(at, str(at)) for at in self.times]
        changes = changes_of(self.states, labels, BALANCERS[self.balancer])
        population = Slots([1] * CLIENTS, Habits(), 0.5, 1, self.ip, PORT)
        conduct = Conduct(POLICIES[policy], Delays(), heal_within_s)
        return Computation(changes, population, conduct, HORIZON_S)

    def routes(self) -> Routes:
        """The model's routes."""
        return Routes(self.computation("drop").changes)


def small_course(
    seed: int, balancer: str, events: int = 8, count: int = 60
) -> SmallCourse:
    """A random course by that seed: whatever events are possible, at random times."""
    random = Random(f"{seed}/{balancer}")
    plan = Plan.build(random.randint(1, 3), random.randint(2, 4), CLIENTS)
    states = [Arrangement(plan, Membership.all_in_service(plan))]
    for _ in range(events):
        states.append(_changed(states[-1], random))
    times = sorted(random.uniform(0, HORIZON_S) for _ in range(events))
    rng = np.random.default_rng(seed)
    birth = np.where(rng.random(count) < 0.5, -1.0, rng.uniform(0, HORIZON_S, count))
    lasts = np.where(rng.random(count) < 0.5, np.inf, rng.exponential(8.0, count))
    flows = Flows(
        clients=rng.integers(0, CLIENTS, count).astype(np.uint16),
        ports=rng.integers(20000, 60000, count).astype(np.uint16),
        birth=birth,
        death=birth + 1.5 + lasts,
        interval=rng.choice([0.02, 0.5, 3.0], count).astype(np.float32),
        phase=rng.random(count, np.float32),
        locks=np.ones(count, np.uint8),
        slot=np.zeros(count, np.int32),
        generation=np.zeros(count, np.uint16),
    )
    return SmallCourse(states, times, balancer, random.choice((4, 6)), flows)


def _changed(state: Arrangement, random: Random) -> Arrangement:
    """After some event that is possible."""
    while True:
        kind = random.choice(list(EVENTS))
        chassis = random.choice(state.plan.chassis)
        node = random.choice(chassis.nodes)
        nearby = f"c{len(state.plan.chassis) + 1}"
        target = random.choice([chassis.name, node.name, nearby, "fabric", "all"])
        try:
            return EVENTS[kind].change(state, target)
        except (EventError, PlanError):
            continue
