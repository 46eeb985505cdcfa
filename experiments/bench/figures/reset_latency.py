"""Reset latency on a quiet cluster, and one round trip of the same connections."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.analysis.statistics import percentiles
from experiments.bench.basis.bench_network import ECHO_PORT
from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Found,
    Line,
    Results,
    Setting,
    line_with_reference,
    numbers_of,
    settings_of_kinds,
    values_of,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.networks.ours import OurNetwork

PAUSE_S = 0.005
BOUNDS = {"p50": Bound(1.5, at_least=False), "p99": Bound(5, at_least=False)}


def measure(network: OurNetwork, size: Size) -> Found:
    """From a client's request to its reset, one connection after the other.

    This is the time that a client waits. It is longer than the time from the first stray's
    arrival at a node.
    """
    last = network.state.plan.chassis[-1].name
    with load_generators(network) as generators:
        generators.open_all(size.requests * len(network.clients), window=16)
        connections = [c for c in generators.connections if c[0] == network.clients[0]]
        before = {c: _owner(network, c) for c in connections}
        trips = generators.request(
            connections, at_once=False, timeout_s=5, pause_s=PAUSE_S
        )
        network.cluster.event("fail-chassis", last)
        moved = [c for c in connections if before[c] != _owner(network, c)]
        resets = generators.request(moved, at_once=False, timeout_s=5, pause_s=PAUSE_S)
    network.cluster.event("restore-chassis", last)
    return {
        "round_trip": percentiles(trips.answer_ms)._asdict(),
        "reset": percentiles(resets.reset_ms)._asdict(),
        "moved": len(moved),
        "not_reset": len(moved) - len(resets.reset_ms),
        "round_trip_sample_ms": trips.answer_ms,
        "reset_sample_ms": resets.reset_ms,
    }


def _owner(network: OurNetwork, connection: tuple[str, int]) -> str | None:
    client, port = connection
    four_tuple = network.connection(client, ECHO_PORT, port)
    return network.owner(network.state, four_tuple)


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Both percentiles are compared with the median round trip."""
    ours = Setting.array("ours", size)
    all_reset = not any(values_of(results, ours, "not_reset"))
    return [
        line_with_reference(
            f"reset latency, {which}",
            "ms",
            numbers_of(results, ours, f"reset.{which}"),
            numbers_of(results, ours, "round_trip.p50"),
            "one round trip (p50) of the same connections",
            bound,
            also=all_reset,
        )
        for which, bound in BOUNDS.items()
    ]


FIGURE = Figure(
    name="reset-latency",
    title="first stray segment to client reset",
    settings=settings_of_kinds(("ours",)),
    measures={"ours": measure},
    lines=lines,
)
