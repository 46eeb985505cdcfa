"""A balancing algorithm: a name and a function from members to buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import NamedTuple

#: From members, or weights by member, to a bucket table. With a second argument, if the
#: balancer has sizes: that many buckets.
Table = Callable[..., tuple[str, ...]]

#: A bucket's number is 16 bits of a register (``max_link`` of ``nx_action_multipath``).
MOST_BUCKETS = 1 << 16


class WeightError(ValueError):
    """Weights that a balancer does not support; the text has the reason."""


class SizeError(ValueError):
    """A number of buckets that a balancer does not support; the text has the reason."""


class Departed(NamedTuple):
    """Who has left a switch's members, for balancers whose tables depend on the order.

    ``left``: names, the latest last. ``seats``: member -> the member whose place it has
    taken, for those that do not have their own
    (:meth:`topologies.domain.membership.Membership.departed`).
    """

    left: tuple[str, ...] = ()
    seats: tuple[tuple[str, str], ...] = ()


#: Nobody has left.
NOBODY = Departed()


@dataclass(frozen=True)
class Sizes:
    """The numbers of buckets that a balancer can have: ``least`` to MOST_BUCKETS.

    ``prime``: only prime numbers.
    """

    default: int
    least: int = 256
    prime: bool = False

    def check(self, buckets: int) -> None:
        """Raises :class:`SizeError`, with the nearest possible sizes."""
        if not self.least <= buckets <= MOST_BUCKETS:
            raise SizeError(
                f"{buckets} buckets: {self.least} to {MOST_BUCKETS} are possible (a "
                "bucket's number has 16 bits in a switch)"
            )
        if self.prime and not _is_prime(buckets):
            near = [n for n in range(self.least, MOST_BUCKETS) if _is_prime(n)]
            lower = max((n for n in near if n < buckets), default=near[0])
            higher = min((n for n in near if n > buckets), default=near[-1])
            raise SizeError(
                f"{buckets} buckets: the number must be prime, e.g. {lower} or {higher}"
            )


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, isqrt(number) + 1))


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

    ``sizes``: the numbers of buckets that the tables can have, as a second argument of
    the functions; None if the number is not the user's choice. ``buckets``: the chosen
    number, or None for the default (see :meth:`with_buckets`). ``consistent``: a member
    that joins only takes buckets, and one that leaves only gives its own away; nothing
    else moves. ``ordered``: ``table`` has :class:`Departed` as a third argument.
    """

    name: str
    summary: str
    table: Table
    weighted: Table | None = None
    weights: tuple[tuple[str, float], ...] = ()
    sizes: Sizes | None = None
    buckets: int | None = None
    consistent: bool = False
    ordered: bool = False

    def with_buckets(self, buckets: int | None) -> Balancer:
        """This balancer with tables of that size; None: of its default size.

        Raises :class:`SizeError` for a size that it cannot have.
        """
        if buckets is not None:
            if self.sizes is None:
                raise SizeError(f"balancer {self.name!r} takes no number of buckets")
            self.sizes.check(buckets)
        return replace(self, buckets=buckets)

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

    def node_table(
        self, nodes: Sequence[str], departed: Departed = NOBODY
    ) -> tuple[str, ...]:
        """Tier 2's bucket table, over the nodes in service of one chassis."""
        return self._over(self.node_weights(nodes), departed)

    def chassis_table(
        self, nodes: Mapping[str, Sequence[str]], departed: Departed = NOBODY
    ) -> tuple[str, ...]:
        """Tier 1's bucket table; ``nodes`` as for :meth:`chassis_weights`."""
        return self._over(self.chassis_weights(nodes), departed)

    def _over(
        self, weights: Mapping[str, float], departed: Departed
    ) -> tuple[str, ...]:
        size: tuple[int, ...] = ()
        if self.sizes is not None:
            size = (self.buckets or self.sizes.default,)
        if self.weights and self.weighted is not None:
            return self.weighted(weights, *size)
        if self.ordered:
            return self.table(list(weights), *size, departed)
        return self.table(list(weights), *size)
