"""Round-trip time of a small request through both tiers, on a quiet cluster."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.analysis.statistics import percentiles
from experiments.bench.basis.bench_network import Network
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
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.networks.stock import BRIDGE

CONNECTIONS = 40
PAUSE_S = 0.001


def measure(network: Network, size: Size) -> Found:
    """One request at a time, of one client, on connections in use."""
    with load_generators(network) as generators:
        generators.open_all(CONNECTIONS * len(network.clients), window=8)
        connections = [c for c in generators.connections if c[0] == network.clients[0]]
        latencies: list[float] = []
        generators.request(connections, at_once=False, timeout_s=5)
        while len(latencies) < size.requests:
            round_trips = generators.request(
                connections, at_once=False, timeout_s=5, pause_s=PAUSE_S
            )
            latencies += round_trips.answer_ms
    return {**percentiles(latencies)._asdict(), "sample_ms": latencies}


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Medians."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock-tso"))
    return [
        line_with_reference(
            "round trip through both tiers, p50",
            "ms",
            numbers_of(results, ours, "p50"),
            numbers_of(results, stock, "p50"),
            BRIDGE[size.datapath],
            Bound(1.3, at_least=False),
        )
    ]


FIGURE = Figure(
    name="round-trip",
    title="round-trip time",
    settings=settings_of_kinds(("ours", "stock-tso")),
    measures={"ours": measure, "stock-tso": measure},
    lines=lines,
)
