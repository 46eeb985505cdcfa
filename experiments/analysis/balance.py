"""Balance of the two tiers, and what each event moves: pure figures.

==================== =================================================================
max over mean        connections of the busiest chassis or node, divided by the mean
                     over those in service: 1 is even. With weights: the largest ratio
                     of a member's connections to its share by weight
change               share of the connections that an event moved to another node, and
                     share of the hash space, which is exact: with many connections both
                     are equal
polarisation         whether tier 2 distributes the connections of one chassis as it would
                     distribute all: chi-squared of the connections of each node against
                     its share of the buckets, per degree of freedom. 1 is what chance
                     gives. Much more means that the hash bits that selected the chassis
                     also select the node. ``same_basis``: the figure if both tiers used
                     one hash basis
==================== =================================================================

All figures are of one set of connections: those that a run opens at its start.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, product
from math import lcm
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import Forecast, forecast


def balance(
    states: Sequence[ClusterState], connections: Sequence[FourTuple]
) -> dict[str, Any]:
    """The key ``balance`` of ``summary.json``; see the table of this module.

    ``states``: the states before the first event, and after each instant of events.
    """
    forecasts = [forecast_of(state) for state in states]
    ends = {"before": forecasts[0], "after": forecasts[-1]}
    return {
        "fabric_max_over_mean": {
            when: _rounded(
                max_over_mean(chassis_loads(where, connections), chassis_shares(where))
            )
            for when, where in ends.items()
        },
        "node_max_over_mean": {
            when: _rounded(
                max_over_mean(node_loads(where, connections), node_shares(where))
            )
            for when, where in ends.items()
        },
        "changes": [
            {
                "connections_moved": (
                    moved := moved_connections(old, new, connections)
                ),
                "connections": _rounded(moved / len(connections)),
                "buckets": _rounded(float(moved_share(old, new))),
            }
            for old, new in pairwise(forecasts)
        ],
        "polarisation": {
            "as_it_is": _rounded(polarisation(forecasts[0], connections)),
            "same_basis": _rounded(
                polarisation(forecasts[0], connections, forecasts[0].fabric_basis)
            ),
        },
    }


def forecast_of(state: ClusterState) -> Forecast:
    """The forecast of where connections go in that state."""
    return forecast(state.plan, state.membership, state.balancer)


def chassis_loads(where: Forecast, connections: Iterable[FourTuple]) -> dict[str, int]:
    """Connections of each chassis in service, including those with none."""
    routes = filter(None, map(where.route_of, connections))
    return _counted(where.chassis, (route.chassis for route in routes))


def node_loads(where: Forecast, connections: Iterable[FourTuple]) -> dict[str, int]:
    """Connections of each node in service, including those with none."""
    nodes = {node for table in where.chassis.values() for node in table}
    return _counted(nodes, filter(None, map(where.owner_of, connections)))


def chassis_shares(where: Forecast) -> dict[str, float]:
    """The share of all connections that each chassis should have, by weight."""
    return _scaled(where.balancer.chassis_weights(where.members), 1.0)


def node_shares(where: Forecast) -> dict[str, float]:
    """The same for each node. Without weights, all nodes in service have equal shares."""
    if not where.balancer.weights:
        nodes = [node for members in where.members.values() for node in members]
        return _scaled(dict.fromkeys(nodes, 1.0), 1.0)
    return {
        node: part
        for chassis, share in chassis_shares(where).items()
        for node, part in _scaled(
            where.balancer.node_weights(where.members[chassis]), share
        ).items()
    }


def max_over_mean(
    loads: Mapping[str, int], shares: Mapping[str, float]
) -> float | None:
    """The largest ratio of a load to its share of the total; None without any load."""
    total = sum(loads.values())
    if not total:
        return None
    return max(load / (total * shares[name]) for name, load in loads.items())


def moved_connections(
    old: Forecast, new: Forecast, connections: Iterable[FourTuple]
) -> int:
    """How many connections have another owner in the new state."""
    return sum(
        old.owner_of(connection) != new.owner_of(connection)
        for connection in connections
    )


def moved_share(old: Forecast, new: Forecast) -> Fraction:
    """The exact share of the hash space of both tiers that has another owner.

    The tiers' hashes are taken as independent, and so are a switch's hashes with two
    bases. Where the chassis stays the same, its nodes are compared.
    """
    if not old.fabric or not new.fabric:
        return Fraction(old.fabric != new.fabric)
    total = Fraction(0)
    same = old.fabric_basis == new.fabric_basis
    for (before, after), share in _pairs(old.fabric, new.fabric, same):
        if before == after:
            kept = old.chassis_bases[before] == new.chassis_bases[before]
            nodes = _pairs(old.chassis[before], new.chassis[before], kept)
            total += share * sum(part for (x, y), part in nodes if x != y)
        else:
            total += share
    return total


def polarisation(
    where: Forecast, connections: Iterable[FourTuple], basis: int | None = None
) -> float | None:
    """Chi-squared per degree of freedom of tier 2, with ``basis`` at every chassis; None:
    with the bases that they have.

    Returns None if tier 2 has no choice, or no connection.
    """
    loads: dict[str, Counter[str]] = defaultdict(Counter)
    for connection in connections:
        if route := where.route_of(connection):
            table, own = (
                where.chassis[route.chassis],
                where.chassis_bases[route.chassis],
            )
            hashed = where.hash_of(connection, own if basis is None else basis)
            node = table[hashed % len(table)]
            loads[route.chassis][node] += 1
    squares, freedom = 0.0, 0
    for chassis, load in loads.items():
        shares = Counter(where.chassis[chassis])
        each = load.total() / shares.total()
        squares += sum(
            (load[n] - each * k) ** 2 / (each * k) for n, k in shares.items()
        )
        freedom += len(shares) - 1
    return squares / freedom if freedom else None


def _pairs(
    old: Sequence[str], new: Sequence[str], same_hash: bool
) -> Iterator[tuple[tuple[str, str], Fraction]]:
    """Each pair of members, before and after, and its share of the hash space of one
    hash, or of two."""
    if not same_hash:
        each = Counter(product(old, new))
        return ((pair, Fraction(n, each.total())) for pair, n in each.items())
    period = lcm(len(old), len(new))
    pairs = Counter((old[h % len(old)], new[h % len(new)]) for h in range(period))
    return ((pair, Fraction(count, period)) for pair, count in pairs.items())


def _scaled(weights: Mapping[str, float], whole: float) -> dict[str, float]:
    """The weights, scaled so that their sum is ``whole``."""
    total = sum(weights.values())
    return {name: whole * weight / total for name, weight in weights.items()}


def _counted(names: Iterable[str], occurrences: Iterable[str]) -> dict[str, int]:
    return {**dict.fromkeys(names, 0), **Counter(occurrences)}


def _rounded(figure: float | None) -> float | None:
    """To four digits: further ones mean nothing."""
    return None if figure is None else round(figure, 4)
