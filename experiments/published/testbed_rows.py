"""Cheetah's testbed: servers are added and taken away under load, with four designs.

Barbette and others (NSDI 2020), figure 9; the repository of their experiments has the
figures of each second (cheetahlb/experiments, ``dynamic``). 24 servers become 30 and then
22. Clients hold 12,000 connections; most are over in a moment or say nothing, so few can
break. How many could is not published. We take as many as their plain hash broke, and
compare what the other designs spared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.balancers import BALANCERS
from controller.policies import POLICIES
from experiments.model.churn import flat
from experiments.model.conduct import Conduct
from experiments.model.durations import exponential
from experiments.model.engine import Computation, compute
from experiments.model.membership_changes import Change, Changes
from experiments.model.population import Arrivals, Habits
from topologies.domain.buckets import BucketTable
from topologies.domain.forecast import CHASSIS_BASIS, FABRIC_BASIS
from topologies.domain.plan import FABRIC

#: When, in seconds, and how many servers there are then.
STEPS: Sequence[tuple[float, int]] = (
    *((20, 25), (21, 27), (22, 29), (28, 30)),
    *((31, 28), (35, 27), (36, 26), (37, 24), (38, 22)),
)
_AT_START, _MOST, _UNTIL_S, _GROWN_S = 24, 30, 60.0, 30.5
#: Connections that can break: they last half a minute and speak every four seconds.
_LIVE, _MEAN_S, _INTERVAL_S = 80_000, 30.0, 4.0


@dataclass(frozen=True)
class Design:
    """What stands for one of theirs here."""

    policy: str
    balancer: str


DESIGNS = {
    "hash": Design("client-only", "modulo"),
    "consistent-hash": Design("client-only", "ring"),
    "beamer": Design("second-chance", "ring"),
    "stateful": Design("stateful", "modulo"),
}


def broken(design: Design) -> tuple[int, int]:
    """How many connections are reset: while servers are added, and in all."""
    balancer = BALANCERS[design.balancer]
    names = flat(_MOST)["c1"]

    def table(count: int) -> BucketTable:
        return BucketTable(CHASSIS_BASIS, balancer.node_table(names[:count]))

    start = {FABRIC: BucketTable(FABRIC_BASIS, ("c1",)), "c1": table(_AT_START)}
    changes = [Change(at, {"c1": table(count)}) for at, count in STEPS]
    population = Arrivals(
        *(_LIVE, exponential(_MEAN_S), _UNTIL_S),
        habits=Habits(interval_s=_INTERVAL_S),
        reconnects=False,
    )
    tally = compute(
        Computation(
            Changes(start, {"c1": names}, changes),
            population,
            Conduct(POLICIES[design.policy]),
            _UNTIL_S,
        )
    )
    course = tally.course("broken")
    grown = int(course[int(np.ceil(_GROWN_S / tally.clock.bin_s))])
    return grown, int(tally.numbers["reset"])
