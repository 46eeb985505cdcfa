"""The allowed values of a cluster's options, from their registries."""

from __future__ import annotations


def choices(registry: str) -> tuple[str, ...]:
    """The names in a registry: ``policy``, ``balancer``, ``guard``, ``workload`` or
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
