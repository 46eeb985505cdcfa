"""Reset latency on a quiet cluster, settings_of_kinds one round trip of the same connections."""

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
    each,
    line_with_reference,
    settings_of_kinds,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.networks.ours import OurNetwork

PAUSE_S = 0.005
BOUNDS = {"p50": Bound(1.5, at_least=False), "p99": Bound(5, at_least=False)}


def measure(network: OurNetwork, size: Size) -> Found:
    """From a client's send to its reset, one connection after the other.

    That is more than from the first stray's arrival at a node, and it is what a client
    waits: its request, and in the place of the answer the reset.
    """
    last = network.state.plan.chassis[-1].name
    with load_generators(network) as generators:
        generators.open_all(size.requests * len(network.clients), window=16)
        mine = [c for c in generators.connections if c[0] == network.clients[0]]
        before = {c: _owner(network, c) for c in mine}
        trips = generators.request(mine, at_once=False, timeout_s=5, pause_s=PAUSE_S)
        network.cluster.event("fail-chassis", last)
        moved = [c for c in mine if before[c] != _owner(network, c)]
        asked = generators.request(moved, at_once=False, timeout_s=5, pause_s=PAUSE_S)
    network.cluster.event("restore-chassis", last)
    return {
        "round_trip": percentiles(trips.answer_ms)._asdict(),
        "reset": percentiles(asked.reset_ms)._asdict(),
        "moved": len(moved),
        "not_reset": len(moved) - len(asked.reset_ms),
        "round_trip_sample_ms": trips.answer_ms,
        "reset_sample_ms": asked.reset_ms,
    }


def _owner(network: OurNetwork, connection: tuple[str, int]) -> str | None:
    client, port = connection
    four_tuple = network.connection(client, ECHO_PORT, port)
    return network.owner(network.state, four_tuple)


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Both percentiles are line_with_reference with the median round trip."""
    ours = Setting.array("ours", size)
    all_reset = not any(each(results, ours, "not_reset"))
    return [
        line_with_reference(
            f"reset latency, {which}",
            "ms",
            each(results, ours, f"reset.{which}"),
            each(results, ours, "round_trip.p50"),
            "one round trip (p50), measured settings_of_kinds it",
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
