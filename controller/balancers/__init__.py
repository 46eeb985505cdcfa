"""All balancing algorithms, by name: one small module and one line each."""

from __future__ import annotations

from collections.abc import Mapping

from topologies.domain.balancer import Balancer, WeightError
from topologies.domain.registry import gathered

#: A line each, in the order in which they are listed.
_MODULES = (
    "modulo",
    "hash_threshold",
    "rendezvous",
    "maglev",
    "ring",
    "resilient",
)

#: Every balancing algorithm, by the name that specifications use.
BALANCERS: dict[str, Balancer] = {
    balancer.name: balancer for balancer in gathered(__name__, _MODULES, Balancer)
}


def get_balancer(name: str, weights: Mapping[str, float]) -> Balancer:
    """The balancer of that name with those weights, of nodes and chassis by name.

    Raises :class:`LookupError` for an unknown name, :class:`WeightError` for weights
    that the balancer does not support. Both texts list the alternatives.
    """
    if name not in BALANCERS:
        raise LookupError(f"no balancer {name!r}; there are {', '.join(BALANCERS)}")
    if weights and BALANCERS[name].weighted is None:
        able = ", ".join(each.name for each in BALANCERS.values() if each.weighted)
        raise WeightError(f"balancer {name!r} takes no weights; those that do: {able}")
    return BALANCERS[name].with_weights(weights)


__all__ = ["BALANCERS", "Balancer", "WeightError", "get_balancer"]
