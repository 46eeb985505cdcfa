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
    beside,
    compared,
    each,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.herds import herds
from experiments.bench.networks.stock import BRIDGE

CONNECTIONS = 40
PAUSE_S = 0.001


def measure(network: Network, size: Size) -> Found:
    """One request at a time, of one client, on connections that are in use."""
    with herds(network) as several:
        several.open_all(CONNECTIONS * len(network.clients), window=8)
        mine = [c for c in several.connections if c[0] == network.clients[0]]
        latencies: list[float] = []
        several.ask(mine, at_once=False, timeout_s=5)
        while len(latencies) < size.requests:
            asked = several.ask(mine, at_once=False, timeout_s=5, pause_s=PAUSE_S)
            latencies += asked.answer_ms
    return {**percentiles(latencies)._asdict(), "sample_ms": latencies}


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Medians."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock-tso"))
    return [
        compared(
            "round trip through both tiers, p50",
            "ms",
            each(results, ours, "p50"),
            each(results, stock, "p50"),
            BRIDGE[size.datapath],
            Bound(1.3, at_least=False),
        )
    ]


FIGURE = Figure(
    name="round-trip",
    title="round-trip time",
    settings=beside(("ours", "stock-tso")),
    measures={"ours": measure, "stock-tso": measure},
    lines=lines,
)
