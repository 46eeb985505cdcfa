"""The budget of a cluster: what a fan-out and a relay cost."""

from __future__ import annotations

import pytest

from controller.policies import POLICIES
from controller.policies.policy import ResetPolicy
from experiments.cluster.fan_out_budget import (
    COPIES_AT_ONCE,
    COPIES_PER_S,
    budget_of,
    copies_of_a_relay,
    copies_of_a_reset,
)
from nodes.guard.budget import UNLIMITED, Purse
from topologies.domain.plan import Plan

SMALL, LARGE = Plan.build(2, 3, 2), Plan.build(40, 25, 2)
WITH_COPIES = [one for one in POLICIES.values() if one.sends_copies]


@pytest.mark.parametrize("plan", [SMALL, LARGE], ids=["2x3", "40x25"])
@pytest.mark.parametrize("policy", WITH_COPIES, ids=lambda one: one.name)
def test_relays_alone_cause_no_more_copies_than_all_may(
    policy: ResetPolicy, plan: Plan
) -> None:
    """A relay goes to every chassis and node, also where a reset goes to a few."""
    budget = budget_of(plan, policy)
    purse, relayed = Purse(budget), 0
    for number in range(200_000):
        relayed += purse.spend(f"10.1.0.{number % 2}", 1, budget.relay)
    copies = relayed * copies_of_a_relay(plan)
    # Tokens are whole ones, so a relay may pay for some copies that it does not cause.
    assert 0.75 * COPIES_AT_ONCE < copies <= COPIES_AT_ONCE


@pytest.mark.parametrize("policy", WITH_COPIES, ids=lambda one: one.name)
def test_the_rate_is_that_of_copies(policy: ResetPolicy) -> None:
    budget = budget_of(LARGE, policy)
    rate = budget.total.rate * copies_of_a_reset(LARGE, policy)
    assert rate == pytest.approx(COPIES_PER_S)
    assert budget.client.rate < budget.total.rate


@pytest.mark.parametrize("policy", WITH_COPIES, ids=lambda one: one.name)
def test_one_relay_is_possible_in_the_largest_cluster(policy: ResetPolicy) -> None:
    budget = budget_of(Plan.build(250, 250, 1), policy)
    assert Purse(budget).spend("10.1.0.1", 1, budget.relay)


def test_who_sends_no_copies_has_no_limit() -> None:
    assert budget_of(SMALL, POLICIES["client-only"]) == UNLIMITED
