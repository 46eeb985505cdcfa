"""How evenly two tiers share connections out, and what each event moves: pure figures.

==================== =================================================================
max over mean        connections of the busiest chassis or node, divided by the mean
                     over those in service: 1 is even. Where members have weights, the
                     most connections of any by what is its share by weight
change               share of the connections that an event gave another node, and share
                     of the hash space, which has no chance in it: with so many
                     connections that luck does not count, both are the same
polarisation         whether tier 2 shares out what tier 1 gives to one chassis as it
                     would share out everything: chi-squared of the connections of each
                     node against its share of the buckets, per degree of freedom. 1 is
                     what chance alone does; much more means that hash bits which chose
                     the chassis choose the node again. ``same_basis`` is what it would
                     be if both tiers hashed with one basis
==================== =================================================================

Everything refers to one set of connections, those that a run opens at its beginning.
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
    """What ``summary.json`` says in ``balance``; see the table of this module.

    ``states`` are those before the first event, and after each instant of events.
    """
    forecasts = [forecast_of(state) for state in states]
    ends = {"before": forecasts[0], "after": forecasts[-1]}
    return {
        "fabric_max_over_mean": {
            when: _rounded(
                max_over_mean(chassis_loads(one, connections), chassis_shares(one))
            )
            for when, one in ends.items()
        },
        "node_max_over_mean": {
            when: _rounded(
                max_over_mean(node_loads(one, connections), node_shares(one))
            )
            for when, one in ends.items()
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
    """Where connections go in that state of a cluster."""
    return forecast(state.plan, state.membership, state.balancer)


def chassis_loads(where: Forecast, connections: Iterable[FourTuple]) -> dict[str, int]:
    """Connections of each chassis in service, those without any included."""
    routes = filter(None, map(where.route_of, connections))
    return _counted(where.chassis, (route.chassis for route in routes))


def node_loads(where: Forecast, connections: Iterable[FourTuple]) -> dict[str, int]:
    """Connections of each node in service, those without any included."""
    nodes = {node for table in where.chassis.values() for node in table}
    return _counted(nodes, filter(None, map(where.owner_of, connections)))


def chassis_shares(where: Forecast) -> dict[str, float]:
    """The share of all connections that each chassis should have, by weight."""
    return _scaled(where.balancer.chassis_weights(where.members), 1.0)


def node_shares(where: Forecast) -> dict[str, float]:
    """The same of each node; without weights, all nodes in service count alike."""
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
    """The greatest load by its share of them all; None where there is no load at all."""
    total = sum(loads.values())
    if not total:
        return None
    return max(load / (total * shares[name]) for name, load in loads.items())


def moved_connections(
    old: Forecast, new: Forecast, connections: Iterable[FourTuple]
) -> int:
    """How many connections have another owner in the new state."""
    return sum(old.owner_of(one) != new.owner_of(one) for one in connections)


def moved_share(old: Forecast, new: Forecast) -> Fraction:
    """Exact share of the hash space, of both tiers' hashes, that has another owner.

    The tiers' hashes count as independent, and so do a switch's hashes with two bases;
    what a chassis keeps is asked of its nodes.
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
    """Chi-squared per degree of freedom of tier 2, were ``basis`` that of every chassis;
    None: with the bases that they have.

    None where tier 2 has no choice, or no connection.
    """
    loads: dict[str, Counter[str]] = defaultdict(Counter)
    for one in connections:
        if route := where.route_of(one):
            table, own = (
                where.chassis[route.chassis],
                where.chassis_bases[route.chassis],
            )
            hashed = where.hash_of(one, own if basis is None else basis)
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
    """Each pair of members, before and after, and its share of the hash space: that of
    one hash, or of two."""
    if not same_hash:
        each = Counter(product(old, new))
        return ((pair, Fraction(n, each.total())) for pair, n in each.items())
    period = lcm(len(old), len(new))
    pairs = Counter((old[h % len(old)], new[h % len(new)]) for h in range(period))
    return ((pair, Fraction(count, period)) for pair, count in pairs.items())


def _scaled(weights: Mapping[str, float], whole: float) -> dict[str, float]:
    """Those weights, made to add up to ``whole``."""
    total = sum(weights.values())
    return {name: whole * weight / total for name, weight in weights.items()}


def _counted(names: Iterable[str], found: Iterable[str]) -> dict[str, int]:
    return {**dict.fromkeys(names, 0), **Counter(found)}


def _rounded(figure: float | None) -> float | None:
    """More digits would only pretend."""
    return None if figure is None else round(figure, 4)
