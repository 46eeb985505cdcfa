"""What the model takes for remembered, walked through the flow tables of the switches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.model.engine import Computation, moved_of
from experiments.model.fates import remembered_by_switches
from experiments.model.flows import Flows
from tests.controller.clusters import network
from tests.controller.test_second_chances import walk
from tests.experiments.model.courses import SmallCourse, small_course


def walked(course: SmallCourse, policy: str) -> ClusterState:
    """The state of the cluster after the course, with its history."""
    first, *later = course.states
    balancer = BALANCERS[course.balancer]
    state = ClusterState(first.plan, first.membership, POLICIES[policy], balancer)
    for one in later:
        state = state.becoming(one)
    return state


def of_client_1(flows: Flows) -> Flows:
    """Connections of h1, all from the start to the end."""
    some = flows.take(flows.clients == 0)
    endless = np.full(len(some), np.inf)
    return some.living(endless).reopened(
        np.arange(len(some)), np.full(len(some), -1.0), some.ports
    )


def judged(course: SmallCourse) -> list[tuple[str, int, bool]]:
    """Owner and port of each connection that the tables have left and not led back to, and
    whether the model has its owner found after all events. Only reachable owners."""
    flows, routes = of_client_1(course.flows), course.routes()
    computation: Computation = course.computation("second-chance")
    _, _, moved = moved_of(computation, routes, flows)
    last = np.full(len(moved), routes.eras - 1)
    now = routes.way(moved.hashes, moved.index, last)
    at_home = moved.era - 1
    for era in range(routes.eras):
        there = routes.way(moved.hashes, moved.index, np.full(len(moved), era))
        at_home = np.where((there.node == moved.owner) & (era > at_home), era, at_home)
    away = (now.node != moved.owner) & (moved.loss >= routes.eras)
    away &= routes.reached(moved.owner, last)
    (which,) = away.nonzero()
    known = remembered_by_switches(
        moved, which, at_home[which], now.taken(which), last[which]
    )
    return [
        (
            routes.nodes[moved.owner[row]],
            int(flows.ports[moved.index[row]]),
            bool(found),
        )
        for row, found in zip(which, known, strict=True)
    ]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    balancer=st.sampled_from(("modulo", "rendezvous")),
    events=st.integers(1, 14),
)
def test_who_is_remembered_is_asked(seed: int, balancer: str, events: int) -> None:
    course = small_course(seed, balancer, events)
    present = walked(course, "second-chance")
    switches = network(present)
    for owner, port, known in judged(course)[:6]:
        asked = walk(switches, present, port, course.ip).nodes
        assert not known or owner in asked
        # Up to four changes everybody is.
        assert events > 4 or known


def test_some_are_forgotten_after_many_changes() -> None:
    found = [
        known
        for seed in range(30)
        for _, _, known in judged(small_course(seed, "modulo", 14))
    ]
    assert {True, False} == set(found)
