"""The budget of fan-outs, applied to counts: how many it refuses, and when.

One bucket of tokens for the whole cluster, as the guards have it
(:mod:`experiments.cluster.fan_out_budget`). What one client may cause is not limited here.
"""

from __future__ import annotations

import numpy as np

from controller.policies.policy import ResetPolicy
from controller.policies.questions import Travel
from experiments.cluster.fan_out_budget import COPIES_AT_ONCE, COPIES_PER_S
from experiments.model.tally import Counts
from topologies.domain.history import MAX_HISTORY


def cost_of_a_reset(chassis: int, nodes: int, policy: ResetPolicy) -> int:
    """The copies that the budget takes for one fan-out:
    :func:`~experiments.cluster.fan_out_budget.copies_of_a_reset` for any size."""
    if policy.travel is Travel.TO_EARLIER_OWNERS:
        return 2 * (MAX_HISTORY + 1)
    return chassis + nodes


def refused(fan_outs: Counts, cost: int, bin_s: float) -> Counts:
    """How many fan-outs of each bin the budget refuses, if each costs so many copies.

    One fan-out at once is always possible when the bucket is full.
    """
    found = np.zeros(len(fan_outs), np.int64)
    filled, full = bin_s * COPIES_PER_S, float(max(COPIES_AT_ONCE, cost))
    level, seen = full, -1
    for place in fan_outs.nonzero()[0].tolist():
        level = min(full, level + (place - seen - 1) * filled) + filled
        granted = min(int(fan_outs[place]), int(level / cost))
        level, seen = min(full, level - granted * cost), place
        found[place] = fan_outs[place] - granted
    return found


def worst_second(counts: Counts, bin_s: float) -> tuple[float, float]:
    """The most in a second, as a rate, and the width of the window in seconds: that of a
    bin if this is longer."""
    width = max(1, round(1.0 / bin_s))
    sums = np.cumsum(np.concatenate([[0], counts]))
    window = sums[width:] - sums[:-width] if len(counts) > width else sums[-1:]
    seconds = width * bin_s
    return float(window.max(initial=0)) / seconds, seconds
