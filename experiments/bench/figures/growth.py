"""Growth of the mass reset: over chassis and over connections, with a fit."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Found,
    Line,
    Results,
    Setting,
    line_alone,
)
from experiments.bench.basis.fit import power_law, slope
from experiments.bench.basis.size import Size
from experiments.bench.figures.mass_reset import (
    OPENING_WINDOW,
    OURS_TIMEOUT_S,
    remove_chassis,
)
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.measure.reset_wave import Wave, reset_wave
from experiments.bench.networks.ours import OurNetwork

#: cost ~ nodes ** exponent.
MAX_EXPONENT = 1.0


def settings(size: Size) -> Sequence[Setting]:
    """The array with fewer chassis."""
    return [
        Setting("ours", chassis, size.nodes, size.clients, size.datapath)
        for chassis in size.growth_chassis
    ]


def measure(network: OurNetwork, size: Size) -> Found:
    """A wave of resets for each number of connections."""
    wave = remove_chassis if len(network.state.plan.chassis) > 1 else _remove_one_node
    return {
        "nodes": sum(1 for _ in network.state.plan.nodes),
        "waves": [
            wave(network, connections, OURS_TIMEOUT_S).to_json()
            for connections in size.growth_connections
        ],
    }


def _remove_one_node(network: OurNetwork, connections: int, timeout_s: float) -> Wave:
    """With a single chassis, its last node fails. Nearly all connections move, too."""
    last = network.state.plan.chassis[-1].nodes[-1].name
    with load_generators(network) as generators:
        generators.open_all(connections, OPENING_WINDOW)
        wave = reset_wave(network, generators, ("fail-node", last), timeout_s)
    network.cluster.event("restore-node", last)
    return wave


def costs(size: Size, results: Results) -> list[tuple[int, float]]:
    """(nodes, ms for one more reset) of each size of cluster, smallest first.

    Raises :class:`NotComputableError` if nothing moved.
    """
    found = []
    for setting in settings(size):
        nodes = results[setting][0]["nodes"]
        waves = [w for one in results[setting] for w in one["waves"]]
        points = [(w["moved"], w["seconds"] * 1e3) for w in waves]
        found.append((nodes, slope(points)))
    return found


def lines(size: Size, results: Results) -> Sequence[Line]:
    """The exponent of the fit, and whether anything was lost anywhere."""
    found = costs(size, results)
    law = power_law(found)
    complete = all(
        Wave(**wave).complete
        for setting in settings(size)
        for one in results[setting]
        for wave in one["waves"]
    )
    ends = ", ".join(f"{cost:.3f} ms at {nodes} nodes" for nodes, cost in found)
    return [
        line_alone(
            "growth: cost of a reset ~ nodes to the power of",
            "",
            [law.exponent],
            Bound(MAX_EXPONENT, at_least=False, unit=""),
            remarks=[ends, "nothing lost" if complete else "NOT complete somewhere"],
            also=complete,
        )
    ]


FIGURE = Figure(
    name="growth",
    title="mass reset over cluster size and connections",
    settings=settings,
    measures={"ours": measure},
    lines=lines,
)
