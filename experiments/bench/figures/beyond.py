"""A large cluster: a thousand nodes come up, serve, and lose a chassis."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.bench.basis.figure import (
    Figure,
    Found,
    Line,
    Results,
    Setting,
    line_alone,
    steps_of,
    values_of,
)
from experiments.bench.basis.size import Size
from experiments.bench.figures.mass_reset import OURS_TIMEOUT_S, remove_chassis
from experiments.bench.measure.reset_wave import Wave
from experiments.bench.measure.wave_waiting import waiting_lines, waiting_remark
from experiments.bench.networks.ours import OurNetwork


def settings(size: Size) -> Sequence[Setting]:
    """The large cluster, in the full benchmark only."""
    if size.beyond is None:
        return []
    chassis, nodes = size.beyond
    return [Setting("ours", chassis, nodes, size.clients, size.datapath)]


def measure(network: OurNetwork, size: Size) -> Found:
    """The bring-up, and one wave of resets."""
    wave = remove_chassis(network, size.beyond_connections, OURS_TIMEOUT_S)
    return {"up": dict(steps_of(network, size)), "wave": wave.to_json()}


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Durations, and whether anything was lost."""
    lines = []
    for setting in settings(size):
        waves = [Wave(**wave) for wave in values_of(results, setting, "wave")]
        complete = all(wave.complete for wave in waves)
        title = f"{setting.chassis * setting.nodes} nodes"
        lines += [
            line_alone(
                f"{title}: bring-up", "s", values_of(results, setting, "up.seconds")
            ),
            line_alone(
                f"{title}: {size.beyond_connections} connections, a chassis leaves",
                "s",
                [wave.seconds for wave in waves],
                remarks=[
                    f"{waves[0].moved} moved, "
                    + ("nothing lost" if complete else "NOT complete"),
                    waiting_remark(waves[0].waiting),
                ],
            ),
            *waiting_lines(title, [wave.waiting for wave in waves]),
        ]
    return lines


FIGURE = Figure(
    name="beyond",
    title="beyond one array",
    settings=settings,
    measures={"ours": measure},
    lines=lines,
)
