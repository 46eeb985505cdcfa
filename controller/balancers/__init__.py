"""All balancing algorithms, by name: one small module and one line each."""

from __future__ import annotations

from collections.abc import Mapping

from topologies.domain.balancer import Balancer, SizeError, WeightError
from topologies.domain.registry import gathered

#: A line each, in the order in which they are listed.
_MODULES = (
    "modulo",
    "hash_threshold",
    "rendezvous",
    "maglev",
    "ring",
    "resilient",
    "anchor",
)

#: Every balancing algorithm, by the name that specifications use.
BALANCERS: dict[str, Balancer] = {
    balancer.name: balancer for balancer in gathered(__name__, _MODULES, Balancer)
}


def get_balancer(
    name: str, weights: Mapping[str, float], buckets: int | None = None
) -> Balancer:
    """The balancer of that name with those weights, of nodes and chassis by name.

    ``buckets``: the size of its tables; None: its own.

    Raises :class:`LookupError` for an unknown name, :class:`WeightError` for weights
    that the balancer does not support, :class:`SizeError` for such a size. All texts list
    the alternatives.
    """
    if name not in BALANCERS:
        raise LookupError(f"no balancer {name!r}; there are {', '.join(BALANCERS)}")
    if weights and BALANCERS[name].weighted is None:
        able = ", ".join(each.name for each in BALANCERS.values() if each.weighted)
        raise WeightError(f"balancer {name!r} takes no weights; those that do: {able}")
    if buckets is not None and BALANCERS[name].sizes is None:
        able = ", ".join(each.name for each in BALANCERS.values() if each.sizes)
        raise SizeError(
            f"balancer {name!r} takes no number of buckets; those that do: {able}"
        )
    return BALANCERS[name].with_weights(weights).with_buckets(buckets)


__all__ = ["BALANCERS", "Balancer", "SizeError", "WeightError", "get_balancer"]
