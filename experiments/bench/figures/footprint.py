"""Memory and processes of the array with all connections open."""

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
    settings_of_kinds,
    values_of,
)
from experiments.bench.basis.load import available_mib, processes, resident_mib
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.networks.ours import OurNetwork

MAX_GIB = 8.0


def measure(network: OurNetwork, size: Size) -> Found:
    """``taken``: decrease of the machine's available memory since before the bring-up."""
    with load_generators(network) as generators:
        generators.open_all(size.held, window=32)
        nodes = sum(1 for _ in network.state.plan.nodes)
        taken = network.available_before_mib - available_mib()
        resident = resident_mib()
        count = len(processes())
    return {
        "taken_gib": taken / 1024,
        "processes_gib": resident / 1024,
        "processes": count,
        "mib_for_each_node": max(taken, resident) / nodes,
        "processes_for_each_node": count / nodes,
    }


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Memory is the larger of that decrease and the memory of all processes."""
    setting = Setting.array("ours", size)
    found = results[setting][-1]
    gib = [max(one["taken_gib"], one["processes_gib"]) for one in results[setting]]
    return [
        line_alone(
            f"memory at {size.chassis}x{size.nodes} with {size.held} connections",
            "GiB",
            gib,
            Bound(MAX_GIB, at_least=False, unit=" GiB"),
            remarks=[
                f"{found['mib_for_each_node']:.1f} MiB and "
                f"{found['processes_for_each_node']:.2f} processes for each node"
            ],
        ),
        line_alone("processes in total", "", values_of(results, setting, "processes")),
    ]


FIGURE = Figure(
    name="footprint",
    title="memory and processes",
    settings=settings_of_kinds(("ours",)),
    measures={"ours": measure},
    lines=lines,
)
