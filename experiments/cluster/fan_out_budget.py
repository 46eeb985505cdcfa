"""The guards' budget of fan-outs, for a cluster's size and policy; pure.

What is limited is copies: one fan-out makes many in a large cluster and few in a small
one. The numbers are measured (docs/healing.md): with them a storm of strays leaves the
other clients their round trips.
"""

from __future__ import annotations

import math

from controller.policies.policy import ResetPolicy
from controller.policies.questions import Travel
from nodes.guard.budget import UNLIMITED, Budget, Limit
from topologies.domain.history import MAX_HISTORY
from topologies.domain.plan import Plan

#: Copies a second, on average and at once, for the whole cluster.
COPIES_PER_S = 20_000
COPIES_AT_ONCE = 100_000
#: The share of one client address.
CLIENT_SHARE = 0.5


def budget_of(plan: Plan, policy: ResetPolicy) -> Budget:
    """The budget for guards of that cluster; unlimited if nothing is fanned out."""
    if not policy.sends_copies:
        return UNLIMITED
    copies = copies_of_a_reset(plan, policy)
    relay = math.ceil(copies_of_a_relay(plan) / copies)
    rate, burst = COPIES_PER_S / copies, max(relay, COPIES_AT_ONCE / copies)
    client = Limit(rate * CLIENT_SHARE, max(relay, burst * CLIENT_SHARE))
    return Budget(client, Limit(rate, burst), relay)


def copies_of_a_relay(plan: Plan) -> int:
    """The copies that one relayed reset causes: one for each chassis and each node."""
    return len(plan.chassis) + sum(len(chassis.nodes) for chassis in plan.chassis)


def copies_of_a_reset(plan: Plan, policy: ResetPolicy) -> int:
    """The most copies that one reset causes, on both tiers."""
    if policy.travel is Travel.TO_EARLIER_OWNERS:
        owners = MAX_HISTORY + 1
        return 2 * owners
    return copies_of_a_relay(plan)
