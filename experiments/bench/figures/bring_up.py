"""Bring-up: until every node serves the virtual address."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Line,
    Results,
    Setting,
    line_with_reference,
    settings_of_kinds,
    steps_of,
    values_of,
)
from experiments.bench.basis.size import Size

#: Maximum duration of a step.
MAX_STEP_S = 10.0


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Ours with guards, servers, tables and sandbox; the reference has bare hosts."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock"))
    slowest = max(max(steps.values()) for steps in values_of(results, ours, "steps"))
    return [
        line_with_reference(
            f"bring-up of {size.chassis}x{size.nodes}",
            "s",
            values_of(results, ours, "seconds"),
            values_of(results, stock, "seconds"),
            f"stock Mininet: as many bare hosts on one bridge, {size.datapath} datapath",
            Bound(2.5, at_least=False),
            remarks=[f"longest step {slowest:.1f} s"],
            also=slowest <= MAX_STEP_S,
        )
    ]


FIGURE = Figure(
    name="bring-up",
    title="from nothing to every node serving the VIP",
    settings=settings_of_kinds(("ours", "stock")),
    measures={"ours": steps_of, "stock": steps_of},
    lines=lines,
)
