"""Where connections go: the model beside the forecast, connection by connection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from experiments.model.durations import Times
from experiments.model.engine import moved_of
from experiments.model.tuple_hash import Addresses, Hashes
from tests.experiments.model.courses import CLIENTS, HORIZON_S, PORT, small_course
from topologies.domain.connection import FourTuple
from topologies.domain.hashing import symmetric_l4
from topologies.domain.plan import VIP_MAC, Client, client_address, vip

numbers = st.integers(0, 2**16 - 1)


@given(
    ip=st.sampled_from((4, 6)),
    pairs=st.lists(st.tuples(st.integers(0, 249), numbers), min_size=1, max_size=20),
    bases=st.lists(numbers, min_size=1, max_size=3),
)
def test_the_hash_is_that_of_the_switch(
    ip: int, pairs: list[tuple[int, int]], bases: list[int]
) -> None:
    addresses = Addresses(250, ip, PORT)
    clients, ports = (np.array(each, np.uint16) for each in zip(*pairs, strict=True))
    chosen = np.resize(np.array(bases, np.int32), len(pairs))
    found = Hashes(addresses, clients, ports).each(None, chosen)
    for (client, port), basis, hashed in zip(pairs, chosen, found, strict=True):
        who = Client(client + 1)
        connection = FourTuple(client_address(who, ip), port, vip(ip), PORT)
        assert symmetric_l4(connection, who.mac, VIP_MAC, int(basis)) == hashed


def test_more_clients_than_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match="not from 1 to 65535"):
        Addresses(65536, 4, PORT)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), balancer=st.sampled_from(list(BALANCERS)))
def test_every_connection_goes_where_the_forecast_says(
    seed: int, balancer: str
) -> None:
    course = small_course(seed, balancer)
    routes = course.routes()
    addresses = Addresses(CLIENTS, course.ip, PORT)
    hashes = Hashes(addresses, course.flows.clients, course.flows.ports)
    for era, owners in enumerate(course.owners()):
        way = routes.way(hashes, None, np.full(len(course.flows), era))
        assert [routes.nodes[node] for node in way.node] == owners


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), balancer=st.sampled_from(list(BALANCERS)))
def test_the_same_ones_move_as_when_each_is_followed(seed: int, balancer: str) -> None:
    course = small_course(seed, balancer)
    routes = course.routes()
    _, born, moved = moved_of(course.computation("drop"), routes, course.flows)
    found = dict(zip(moved.index.tolist(), moved.era.tolist(), strict=True))
    owners = course.owners()
    for place, (first, end) in enumerate(
        zip(born, _ends(course.flows.death), strict=True)
    ):
        later = [
            era
            for era in range(first + 1, len(course.times) + 1)
            if course.times[era - 1] < end
            and owners[era][place] != owners[first][place]
        ]
        assert found.get(place) == (later[0] if later else None)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_power_and_reach_are_those_of_the_membership(seed: int) -> None:
    course = small_course(seed, "modulo")
    routes = course.routes()
    for era, state in enumerate(course.states):
        plan, members = state.plan, state.membership
        powered = {n.name for c in plan.chassis for n in members.powered_nodes(c)}
        reached = {n.name for c in plan.chassis for n in members.reachable_nodes(c)}
        serving = {n.name for c in plan.chassis for n in members.serving_nodes(c)}
        every, eras = np.arange(len(routes.nodes)), np.full(len(routes.nodes), era)
        names = np.array(routes.nodes)
        assert (
            set(names[routes.power.values[routes.power.at(every, eras)] > 0]) == powered
        )
        assert set(names[routes.reached(every, eras)]) == reached
        assert set(names[routes.serving(era)]) == serving
        assert routes.reached_nodes[era] == len(reached)


def _ends(death: Times) -> list[float]:
    return [min(float(each), HORIZON_S) for each in death]
