"""Pins of ``jet``: when each connection is pinned, beside the controller's own rule."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.pipeline.horizon import chassis_joined, fabric_joined, pinned_buckets
from controller.policies.questions import Memory
from experiments.model.danger import danger_of
from experiments.model.engine import settle
from experiments.model.tally import Clock, Tally
from experiments.model.tuple_hash import Addresses, Hashes
from tests.experiments.model.courses import (
    CLIENTS,
    HORIZON_S,
    PORT,
    SmallCourse,
    small_course,
)
from topologies.domain.plan import FABRIC

CONSISTENT = [name for name, one in BALANCERS.items() if one.consistent]


def pinned_at(course: SmallCourse, switch: str, hashes: Hashes, era: int) -> list[bool]:
    """By the controller: whether the switch pins each connection in that era."""
    state, balancer = course.states[era], BALANCERS[course.balancer]
    table = state.table(switch, balancer)
    if not table:
        return [False] * len(course.flows)
    if switch == FABRIC:
        joined = fabric_joined(state.plan, state.membership, balancer)
    else:
        chassis = next(one for one in state.plan.chassis if one.name == switch)
        own = state.membership.of_chassis(chassis)
        joined = chassis_joined(chassis, own, balancer)
    buckets = set(pinned_buckets(Memory.MOVABLE, tuple(table), joined))
    hashed = hashes.of(table.basis) % len(table)
    return [int(bucket) in buckets for bucket in hashed]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), balancer=st.sampled_from(CONSISTENT))
def test_a_connection_is_pinned_as_soon_as_it_speaks_in_danger(
    seed: int, balancer: str
) -> None:
    course = small_course(seed, balancer)
    routes, flows = course.routes(), course.flows
    hashes = Hashes(Addresses(CLIENTS, course.ip, PORT), flows.clients, flows.ports)
    born = routes.era_of(flows.birth)
    danger = danger_of(course.computation("jet").changes, routes)
    every = np.arange(len(flows))
    names = [FABRIC, *routes.chassis]
    number = seed % len(names)
    switches = np.full(len(flows), number)
    found = danger.pinned(routes, flows, hashes, switches, born)
    rows = [
        pinned_at(course, names[number], hashes, era)
        for era in range(len(course.states))
    ]
    for place in every:
        era = next((e for e in range(born[place], len(rows)) if rows[e][place]), None)
        expected = inf
        if era == born[place]:
            expected = flows.birth[place]
        elif era is not None:
            begin = np.array([course.times[era - 1]])
            expected = flows.speaks(every[[place]], begin)[0]
        assert found[place] == expected


@pytest.mark.parametrize("balancer", ["rendezvous", "anchor"])
def test_jet_pins_fewer_than_all(balancer: str) -> None:
    peak = {}
    for policy in ("stateful", "jet"):
        course = small_course(11, balancer)
        routes, computation = course.routes(), course.computation(policy)
        tally = Tally(Clock(HORIZON_S, len(routes.nodes)), routes.eras)
        settle(computation, routes, tally, course.flows)
        peak[policy] = tally.course("pins").max()
        assert tally.course("pins_fabric").max() <= peak[policy]
    assert 0 < peak["jet"] < peak["stateful"]
