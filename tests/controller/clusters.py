"""Small clusters in the states that the tests need."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from controller.balancers import get_balancer
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from tests.controller.flow_table import Network
from topologies.domain.arrangement import Arrangement
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

PLAN = Plan.build(chassis=2, nodes=3, clients=2)
ALL_IN_SERVICE = Membership.all_in_service(PLAN)
H1, H2 = PLAN.clients


def state(
    membership: Membership = ALL_IN_SERVICE,
    policy: str = "flood",
    balancer: str = "modulo",
    plan: Plan = PLAN,
    weights: Mapping[str, float] = MappingProxyType({}),
    buckets: int | None = None,
) -> ClusterState:
    """A cluster's state by the names of its policy and balancer, with those weights."""
    chosen = get_balancer(balancer, weights, buckets)
    return ClusterState(plan, membership, POLICIES[policy], chosen)


def then(before: ClusterState, membership: Membership) -> ClusterState:
    """The state after ``before`` when an event results in ``membership``."""
    return before.becoming(Arrangement(before.plan, membership))


def network(of: ClusterState) -> Network:
    """The switches of that state, in memory."""
    return Network(of.plan, of.tables())
