"""Mass reset: one chassis of ten fails, and nearly every connection moves."""

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
    line_with_reference,
    settings_of_kinds,
    values_of,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import load_generators
from experiments.bench.measure.reset_wave import Wave, reset_wave
from experiments.bench.measure.wave_waiting import waiting_lines, waiting_remark
from experiments.bench.networks.ours import OurNetwork

#: Time limit. Connections that are still half open then count as lost.
OURS_TIMEOUT_S = 60.0
NAIVE_TIMEOUT_S = 120.0
OPENING_WINDOW = 32


def remove_chassis(network: OurNetwork, connections: int, timeout_s: float) -> Wave:
    """Open that many connections, fail the last chassis, and restore it."""
    last = network.state.plan.chassis[-1].name
    with load_generators(network) as generators:
        generators.open_all(connections, OPENING_WINDOW)
        wave = reset_wave(network, generators, ("fail-chassis", last), timeout_s)
    network.cluster.event("restore-chassis", last)
    return wave


def measure(network: OurNetwork, size: Size) -> Found:
    """All connections in one wave."""
    return remove_chassis(network, size.held, OURS_TIMEOUT_S).to_json()


def measure_naive(network: OurNetwork, size: Size) -> Found:
    """A few connections, as the reference is slow. The last wave is the largest."""
    waves = [
        remove_chassis(network, n, NAIVE_TIMEOUT_S).to_json() for n in size.held_naive
    ]
    return {"waves": waves, **waves[-1]}


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Time per reset, since the reference is too slow for as many connections."""
    ours, naive = (Setting.array(kind, size) for kind in ("ours", "naive"))
    complete = all(Wave(**one).complete for one in results[ours])
    held = size.held_naive[-1]
    return [
        line_with_reference(
            f"mass reset of {size.held} connections, time for each",
            "ms",
            [_per_reset_ms(one) for one in results[ours]],
            [_per_reset_ms(one) for one in results[naive]],
            f"naive: controller and scapy, {held} connections, per reset",
            Bound(20, at_least=True),
            speedup=True,
            remarks=[_remark(results[ours][0]), f"naive: {_remark(results[naive][0])}"],
            also=complete,
        ),
        line_alone(
            "the same, first stray to last end",
            "s",
            values_of(results, ours, "seconds"),
        ),
        *waiting_lines("the same", values_of(results, ours, "waiting")),
    ]


def _per_reset_ms(found: Found) -> float:
    return float(found["seconds"] / max(1, found["moved"]) * 1e3)


def _remark(found: Found) -> str:
    return (
        f"{found['moved']} of {found['connections']} moved, {found['clients_lost']} "
        f"clients and {found['half_open']} half-open left, {found['disturbed']} others "
        f"disturbed, {found['probes_lost']} events lost by the probes; "
        f"{waiting_remark(found['waiting'])}"
    )


FIGURE = Figure(
    name="mass-reset",
    title="one chassis of ten leaves",
    settings=settings_of_kinds(("ours", "naive")),
    measures={"ours": measure, "naive": measure_naive},
    lines=lines,
)
