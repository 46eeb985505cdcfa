"""What a balancing algorithm is: a name and a function from members to buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

#: The bucket table of members whose shares are in proportion to their weights.
Weighted = Callable[[Mapping[str, float]], tuple[str, ...]]


class WeightError(ValueError):
    """Weights that a balancer cannot heed; the text names them and says why."""


@dataclass(frozen=True)
class Balancer:
    """A balancing algorithm of a stateless load balancer.

    ``table`` maps the names of the members, in order, to the bucket table: the name
    at index ``i`` is the member of bucket ``i``; a connection is in bucket
    ``hash % len(table)``. It must be a pure function, name only members, and return
    an empty table for no members. Both tiers use the same algorithm.

    ``weighted`` is the same for members that do not count alike, from name to weight;
    None where the algorithm knows no such thing. ``weights``: those that are not 1, by
    name (see :meth:`with_weights`); without any, every member of a tier counts the same.
    """

    name: str
    summary: str
    table: Callable[[Sequence[str]], tuple[str, ...]]
    weighted: Weighted | None = None
    weights: tuple[tuple[str, float], ...] = ()

    def with_weights(self, weights: Mapping[str, float]) -> Balancer:
        """This balancer, with those weights of nodes and chassis by name.

        A node without one has 1. A chassis without one has the sum of the nodes that it
        balances over, so that connections follow what serves: a drained node's share
        goes to all nodes. It is stateless all the same, for the sum follows from the
        membership alone; the price is that tier 1 moves connections too when a node
        comes or goes. A chassis with a weight of its own keeps its share instead.

        Raises :class:`WeightError` where the algorithm takes none, or for one that is
        not above 0.
        """
        if weights and self.weighted is None:
            raise WeightError(f"balancer {self.name!r} takes no weights")
        for name, weight in weights.items():
            if not 0 < weight < float("inf"):
                raise WeightError(f"{name}: a weight is above 0, not {weight}")
        chosen = sorted((name, float(weight)) for name, weight in weights.items())
        return replace(self, weights=tuple(chosen))

    def node_weights(self, nodes: Sequence[str]) -> dict[str, float]:
        """What each node counts, in that order."""
        own = dict(self.weights)
        return {node: own.get(node, 1.0) for node in nodes}

    def chassis_weights(self, nodes: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """What each chassis counts; ``nodes``: chassis -> those it balances over."""
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
        """Tier 1's bucket table; ``nodes`` as :meth:`chassis_weights` has it."""
        return self._over(self.chassis_weights(nodes))

    def _over(self, weights: Mapping[str, float]) -> tuple[str, ...]:
        if self.weights and self.weighted is not None:
            return self.weighted(weights)
        return self.table(list(weights))
