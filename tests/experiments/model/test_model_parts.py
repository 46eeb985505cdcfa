"""The parts of the model: churn, durations, populations, the budget, counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS, get_balancer
from controller.pipeline.horizon import horizon_known
from controller.policies import POLICIES
from controller.policies.policy import ResetPolicy
from experiments.cluster.fan_out_budget import copies_of_a_reset
from experiments.model import durations
from experiments.model.churn import Churn, changes_by_chance, flat, grid
from experiments.model.durations import Durations
from experiments.model.fan_out_limits import cost_of_a_reset, refused, worst_second
from experiments.model.flows import Flows
from experiments.model.membership_changes import changes_of
from experiments.model.population import BATCH, Arrivals, Habits, Slots, Trace
from experiments.model.routes import Routes
from experiments.model.step_functions import StepFunctions
from experiments.model.tally import DurationHistogram
from nodes.clients.client_ports import PORT_RANGE, SourcePorts
from topologies.domain.arrangement import Arrangement
from topologies.domain.events import EVENTS
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

DRAWS = 200_000
OUTAGE = durations.exponential(2.0)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("rendezvous", {}), ("rendezvous", {"c1n1": 3.0, "c2": 2.0}), ("anchor", {})],
)
@pytest.mark.parametrize("seed", range(4))
def test_churn_leads_to_the_tables_of_its_events(
    seed: int, name: str, weights: dict[str, float]
) -> None:
    """The same tables, power, reachability and horizon as by the events' own rules."""
    balancer = get_balancer(name, weights)
    churn = Churn(4.0, OUTAGE, planned_share=0.5, chassis_share=0.2)
    found = changes_by_chance(grid(3, 3), balancer, churn, 10.0, seed)
    plan = Plan.build(3, 3, 1)
    states = [Arrangement(plan, Membership.all_in_service(plan))]
    for change in found.changes:
        kind, target = change.label.split()
        states.append(EVENTS[kind].change(states[-1], target))
    labels = [(change.at, change.label) for change in found.changes]
    expected = changes_of(states, labels, balancer)
    assert found.start == expected.start
    assert len(found.changes) > 20
    for one, other in zip(found.changes, expected.changes, strict=True):
        # A table that stays as it is may be named again.
        named = {name: one.tables[name] for name in other.tables}
        assert (named, one.powered, one.reachable) == (
            *(other.tables, other.powered, other.reachable),
        )
    if horizon_known(balancer):
        assert found.joined == expected.joined
        ours, theirs = dict(found.joined), dict(expected.joined)
        for one, other in zip(found.changes, expected.changes, strict=True):
            ours.update(one.joined)
            theirs.update(other.joined)
            assert ours == theirs


def test_churn_keeps_somebody_in_service_and_goes_by_the_seed() -> None:
    churn = Churn(50.0, durations.fixed(5.0), planned_share=0.0)
    one, same, other = (
        changes_by_chance(flat(3), BALANCERS["maglev"], churn, 20.0, seed)
        for seed in (1, 1, 2)
    )
    assert one == same != other
    assert all(table for c in one.changes for table in c.tables.values())
    times = one.times
    assert times == sorted(times)
    assert all(serving.any() for serving in map(Routes(one).serving, range(len(times))))


@pytest.mark.parametrize(
    ("of", "mean", "square"),
    [
        (durations.fixed(3.0), 3.0, 9.0),
        (durations.exponential(2.0), 2.0, 8.0),
        (durations.lognormal(1.0, 0.8), np.exp(0.32), np.exp(1.28)),
        (durations.pareto(1.0, 4.0), 4 / 3, 2.0),
        (durations.weibull(1.0, 1.0), 1.0, 2.0),
        (durations.empirical([0, 2, 4]), 2.0, 16 / 3),
    ],
    ids=["fixed", "exponential", "lognormal", "pareto", "weibull", "empirical"],
)
def test_what_is_left_of_open_connections_is_in_equilibrium(
    of: Durations, mean: float, square: float
) -> None:
    """The mean of what is left is E[D**2] / 2 E[D] (renewal theory)."""
    rng = np.random.default_rng(1)
    assert of.mean == pytest.approx(mean)
    assert of.draw(rng, DRAWS).mean() == pytest.approx(mean, rel=0.02)
    assert of.left(rng, DRAWS).mean() == pytest.approx(square / 2 / mean, rel=0.03)


def test_durations_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no finite mean"):
        durations.pareto(1.0, 1.0)
    with pytest.raises(ValueError, match="ascending"):
        durations.empirical([3, 1])


def test_as_many_are_open_later_as_at_the_start() -> None:
    of = Arrivals(3 * BATCH // 2, durations.lognormal(5.0, 1.0), 30.0)
    flows = [of.batch(number) for number in range(of.batches)]
    for at in (0.0, 7.0, 29.0):
        open_ = sum(int(((f.birth <= at) & (f.death > at)).sum()) for f in flows)
        assert open_ == pytest.approx(of.connections, rel=0.02)
    assert sum(len(f) for f in flows) > 2 * of.connections
    again = of.batch(1)
    assert (again.death == flows[1].death).all()
    assert (again.ports == flows[1].ports).all()


def test_arrivals_have_different_4_tuples() -> None:
    of = Arrivals(5_000, durations.exponential(5.0), 5.0, clients=7)
    flows = [of.batch(number) for number in range(of.batches)]
    pairs = [
        p for f in flows for p in zip(f.clients.tolist(), f.ports.tolist(), strict=True)
    ]
    assert len(set(pairs)) == len(pairs) > 5_000
    assert all(port in PORT_RANGE for _, port in pairs)


@given(share=st.integers(1, 40), seed=st.integers(0, 5), keep=st.booleans())
@settings(max_examples=20, deadline=None)
def test_clients_reconnect_from_the_ports_of_the_runs_client(
    share: int, seed: int, keep: bool
) -> None:
    """Beside the client's own order, without a socket."""
    of = Slots([share], Habits(), 0.5, seed, 4, 10809, keep)
    flows = of.batch(0)
    slots = SourcePorts(seed, "h1", share + 1)._slots
    for generation in range(4):
        expected = [slot[0 if keep else generation] for slot in slots[:share]]
        assert flows.ports.tolist() == expected
        every = np.arange(share)
        flows = flows.reopened(every, np.zeros(share), of.next_ports(flows))


def test_a_trace_is_what_it_is() -> None:
    starts, lasts = np.array([0.0, 1.5]), np.array([2.0, 0.5])
    flows = Trace(starts, lasts, Habits(), 5, 1, 4, 10809).batch(0)
    assert flows.birth.tolist() == [0.0, 1.5]
    assert flows.death.tolist() == [2.0, 2.0]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 99)), min_size=1
    )
)
def test_a_step_function_has_the_value_of_its_latest_step(
    steps: list[tuple[int, int, int]],
) -> None:
    known = {(each, 0): -1 for each in range(5)}
    known |= {(each, era): value for each, era, value in steps}
    ids, eras, values = zip(*((i, e, v) for (i, e), v in known.items()), strict=True)
    found = StepFunctions(5, 10, (np.array(ids), np.array(eras), np.array(values)))
    for each in range(5):
        for era in range(10):
            position = found.at(np.array([each]), np.array([era]))
            latest = max(e for i, e in known if i == each and e <= era)
            later = [e for i, e in known if i == each and e > era]
            assert found.values[position] == known[each, latest]
            assert found.until[position] == min(later, default=10)


def test_the_budget_grants_its_burst_and_then_its_rate() -> None:
    """With ten copies each: 10,000 at once, then 2,000 a second."""
    fan_outs = np.array([30_000, 0, 10_000, 10_000])
    kept = fan_outs - refused(fan_outs, 10, 1.0)
    assert kept.tolist() == [12_000, 0, 4_000, 2_000]
    # One is possible whatever it costs, if none was for long enough.
    rare = np.array([1, *[0] * 20, 1, 1])
    assert refused(rare, 200_000, 1.0).tolist() == [*[0] * 22, 1]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda one: one.name)
def test_a_fan_out_costs_what_the_guards_take(policy: ResetPolicy) -> None:
    plan = Plan.build(4, 5, 1)
    if policy.sends_copies:
        assert cost_of_a_reset(4, 20, policy) == copies_of_a_reset(plan, policy)


def test_the_worst_second_is_found_between_bins() -> None:
    counts = np.zeros(40, np.int64)
    counts[[5, 9, 13]] = 3, 4, 1
    assert worst_second(counts, 0.1) == (8.0, 1.0)
    assert worst_second(counts, 2.0) == (2.0, 2.0)


def test_quantiles_are_right_to_a_percent() -> None:
    histogram = DurationHistogram()
    histogram.add(np.linspace(0.001, 1.0, 1000))
    assert histogram.quantile(0.5) == pytest.approx(0.5, rel=0.011)
    assert histogram.quantile(1.0) == pytest.approx(1.0, rel=0.011)
    assert histogram.longest == 1.0
    assert DurationHistogram().quantile(0.5) is None


def test_a_client_speaks_each_interval_and_when_it_closes() -> None:
    one = Flows(
        clients=np.zeros(1, np.uint16),
        ports=np.zeros(1, np.uint16),
        birth=np.zeros(1),
        death=np.array([10.0]),
        interval=np.array([2.0], np.float32),
        phase=np.array([0.25], np.float32),
        locks=np.zeros(1, np.uint8),
        slot=np.zeros(1, np.int32),
        generation=np.zeros(1, np.uint16),
    )
    said = [
        float(one.speaks(np.array([0]), np.array([t]))[0]) for t in (0, 0.5, 0.6, 9)
    ]
    assert said == [0.5, 0.5, 2.5, 10.0]
    assert all(before <= after for before, after in pairwise(said))
