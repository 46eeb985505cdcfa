"""The names that a cluster's options may have, each from its own registry."""

from __future__ import annotations


def choices(registry: str) -> tuple[str, ...]:
    """Names in the registry called ``policy``, ``balancer``, ``guard``, ``workload``,
    ``datapath``."""
    from controller.balancers import BALANCERS
    from controller.policies import POLICIES
    from experiments.workloads import WORKLOADS
    from nodes.guard.guards import AUTO, GUARDS
    from topologies.datapaths import CHOICES

    return {
        "policy": tuple(POLICIES),
        "balancer": tuple(BALANCERS),
        "guard": (AUTO, *GUARDS),
        "workload": tuple(WORKLOADS),
        "datapath": CHOICES,
    }[registry]
