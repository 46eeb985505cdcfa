"""Courses of buckets, outages and trackers, against what they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.balancers.anchor import AnchorHash
from experiments.model.durations import Durations
from experiments.model.flows import Flows
from experiments.published import cheetah_rows, jet_rows
from experiments.published.hadoop import HADOOP, HADOOP_BETWEEN
from experiments.published.outages import outages
from experiments.published.ring_course import RingCourse

NAMES = [f"c1n{number}" for number in range(1, 13)]


@settings(max_examples=15, deadline=None)
@given(order=st.lists(st.integers(0, 11), max_size=20))
def test_the_ring_changes_as_the_balancers_tables_do(order: list[int]) -> None:
    course = RingCourse(NAMES, 1024, 160)
    for server in order:
        if not course.serving[server]:
            moved = course.add(server)
            assert (course.owner[moved] == server).all()
        elif course.serving.sum() > 1:
            course.remove(server)
        inside = [n for n, up in zip(NAMES, course.serving, strict=True) if up]
        assert [NAMES[i] for i in course.owner] == list(
            BALANCERS["ring"].node_table(inside)
        )


def test_outages_are_in_order_and_each_server_returns_after_it_left() -> None:
    found = list(outages(30, 2000.0, np.random.default_rng(1)))
    times = [one.at_s for one in found]
    assert times == sorted(times)
    left = {one.number: one.at_s for one in found if not one.back}
    assert len(left) == pytest.approx(1000, abs=130)
    lasted = [one.at_s - left[one.number] for one in found if one.back]
    assert min(lasted) >= 120
    assert np.median(lasted) == pytest.approx(150, abs=5)


@pytest.mark.parametrize(
    ("durations", "mean"), [(HADOOP, 21.33), (HADOOP_BETWEEN, 18.22)]
)
def test_durations_have_the_published_mean_and_the_equilibrium_of_it(
    durations: Durations, mean: float
) -> None:
    rng = np.random.default_rng(1)
    drawn = durations.draw(rng, 400_000)
    assert durations.mean == pytest.approx(mean, rel=0.01)
    assert drawn.mean() == pytest.approx(durations.mean, rel=0.03)
    expected = (drawn**2).mean() / (2 * drawn.mean())
    assert durations.left(rng, 400_000).mean() == pytest.approx(expected, rel=0.03)


def replayed(setup: cheetah_rows.Setup, rate: float, flows: Flows) -> tuple[int, int]:
    """The published simulation, connection by connection and event by event."""
    rng = np.random.default_rng([setup.seed, round(rate * 100), 0])
    names = [f"c1n{number}" for number in range(1, setup.servers + 1)]
    ring = RingCourse(names, setup.buckets, 160)
    population = setup.population()
    words = population.addresses.hashes(flows.clients, flows.ports, basis=2)
    bucket = words % np.uint32(setup.buckets)
    earlier: dict[int, int | None] = {}
    which: dict[int, int] = {}
    by_hash = by_chain = 0
    for at, back, number in outages(rate, setup.until_s, rng):
        server = which.setdefault(number, int(rng.integers(setup.servers)))
        if back == ring.serving[server]:
            continue
        before = ring.owner.copy()
        if back:
            ring.add(server)
        else:
            ring.remove(server)
        live = ((flows.birth < at) & (at < flows.death)).nonzero()[0]
        for one in live.tolist():
            old, new = before[bucket[one]], ring.owner[bucket[one]]
            if old != new and back:
                by_hash += 1
                by_chain += earlier.get(one) is not None
                earlier[one] = int(old)
            elif old != new or earlier.get(one) == server and not back:
                earlier[one] = None
    return by_hash, by_chain


def test_buckets_break_the_connections_that_the_published_rule_breaks() -> None:
    setup = cheetah_rows.Setup(servers=12, live=400, until_s=1500.0, buckets=256)
    rate = 6.0
    population = setup.population()
    flows = population.batch(1)
    course = cheetah_rows.bucket_course(setup, rate)
    words = population.addresses.hashes(flows.clients, flows.ports, basis=2)
    buckets = (words % np.uint32(setup.buckets)).astype(np.int64)
    found = course.count(buckets, flows)
    assert found == replayed(setup, rate, flows)
    assert found[0] > found[1] > 0


def test_all_courses_of_a_rate_are_added_up() -> None:
    setup = cheetah_rows.Setup(servers=20, live=300, until_s=600.0, buckets=256)
    broken = cheetah_rows.simulate(setup, (30.0, 60.0))
    assert broken[60.0].hash > 0
    # 300 updates in ten minutes at the one rate, 600 at the other: five courses and three.
    assert broken[30.0].connections * 3 == broken[60.0].connections * 5


def small() -> jet_rows.Setup:
    return jet_rows.Setup(
        servers=40,
        horizon=8,
        capacity=80,
        live=600,
        table=250,
        updates_per_minute=2.0,
        until_s=600.0,
    )


def test_jet_breaks_none_where_full_tracking_does() -> None:
    broken = jet_rows.simulate(small())
    assert broken.full > 0
    assert broken.jet == 0
    assert broken.tracked < small().table


def test_without_a_horizon_jet_breaks_connections_too() -> None:
    broken = jet_rows.simulate(replace(small(), horizon=0))
    assert broken.jet > 0


def test_a_table_that_is_large_enough_breaks_none() -> None:
    assert jet_rows.simulate(replace(small(), table=100_000)).full == 0


def test_a_full_table_forgets_the_least_recently_used() -> None:
    tracker = jet_rows.Tracker(AnchorHash(8, 4), size=2)
    for connection in (1, 2, 1, 3):
        tracker.server_of(connection)
    assert list(tracker.table) == [1, 3]
