"""A balancing algorithm: a name and a function from members to buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

#: From weights by member to the bucket table with shares in that proportion.
Weighted = Callable[[Mapping[str, float]], tuple[str, ...]]


class WeightError(ValueError):
    """Weights that a balancer does not support; the text has the reason."""


@dataclass(frozen=True)
class Balancer:
    """A balancing algorithm of a stateless load balancer.

    ``table`` maps the members' names, in order, to the bucket table: the name at index
    ``i`` is the member of bucket ``i``. A connection is in bucket ``hash % len(table)``.
    The function must be pure, use only the members' names, and return an empty table for
    no members. Both tiers use the same algorithm.

    ``weighted`` does the same for members with different weights, by name; None if the
    algorithm has no weights. ``weights``: those that are not 1, by name (see
    :meth:`with_weights`).
    """

    name: str
    summary: str
    table: Callable[[Sequence[str]], tuple[str, ...]]
    weighted: Weighted | None = None
    weights: tuple[tuple[str, float], ...] = ()

    def with_weights(self, weights: Mapping[str, float]) -> Balancer:
        """This balancer with those weights of nodes and chassis, by name.

        The default weight of a node is 1. The default of a chassis is the sum of the
        nodes that it balances over, so a drained node's share goes to all nodes. This is
        still stateless, because the sum depends on the membership alone. The cost: tier 1
        moves connections too when a node joins or leaves. A chassis with its own weight
        keeps its share.

        Raises :class:`WeightError` if the algorithm has no weights, or for a weight that
        is not above 0.
        """
        if weights and self.weighted is None:
            raise WeightError(f"balancer {self.name!r} takes no weights")
        for name, weight in weights.items():
            if not 0 < weight < float("inf"):
                raise WeightError(f"{name}: a weight is above 0, not {weight}")
        chosen = sorted((name, float(weight)) for name, weight in weights.items())
        return replace(self, weights=tuple(chosen))

    def node_weights(self, nodes: Sequence[str]) -> dict[str, float]:
        """The weight of each node, in that order."""
        own = dict(self.weights)
        return {node: own.get(node, 1.0) for node in nodes}

    def chassis_weights(self, nodes: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """The weight of each chassis; ``nodes``: chassis -> nodes that it balances over."""
        own = dict(self.weights)
        if not own:
            return dict.fromkeys(nodes, 1.0)
        return {
            chassis: own.get(chassis, sum(self.node_weights(members).values()))
            for chassis, members in nodes.items()
        }

    def node_table(self, nodes: Sequence[str]) -> tuple[str, ...]:
        """Tier 2's bucket table, over the nodes in service of one chassis."""
        return self._over(self.node_weights(nodes))

    def chassis_table(self, nodes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """Tier 1's bucket table; ``nodes`` as for :meth:`chassis_weights`."""
        return self._over(self.chassis_weights(nodes))

    def _over(self, weights: Mapping[str, float]) -> tuple[str, ...]:
        if self.weights and self.weighted is not None:
            return self.weighted(weights)
        return self.table(list(weights))
