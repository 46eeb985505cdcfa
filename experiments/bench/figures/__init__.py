"""The figures of the benchmark in the order of its table, one module each.

They are measured in this order on each network: figures that need a quiet cluster first.
"""

from experiments.bench.basis.figure import Figure
from experiments.bench.figures.beyond import FIGURE as BEYOND
from experiments.bench.figures.bring_up import FIGURE as BRING_UP
from experiments.bench.figures.bulk import FIGURE as BULK
from experiments.bench.figures.connections import FIGURE as CONNECTIONS
from experiments.bench.figures.footprint import FIGURE as FOOTPRINT
from experiments.bench.figures.growth import FIGURE as GROWTH
from experiments.bench.figures.mass_reset import FIGURE as MASS_RESET
from experiments.bench.figures.reset_latency import FIGURE as RESET_LATENCY
from experiments.bench.figures.round_trip import FIGURE as ROUND_TRIP

#: Every figure by its name.
FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        BRING_UP,
        ROUND_TRIP,
        RESET_LATENCY,
        BULK,
        CONNECTIONS,
        MASS_RESET,
        GROWTH,
        FOOTPRINT,
        BEYOND,
    )
}
