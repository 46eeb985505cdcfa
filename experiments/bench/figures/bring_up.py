"""Bring-up: from nothing to every node serving the VIP."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Line,
    Results,
    Setting,
    each,
    line_with_reference,
    settings_of_kinds,
    steps_of,
)
from experiments.bench.basis.size import Size

#: No step may take longer.
MAX_STEP_S = 10.0


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Ours with guards, servers, tables and sandbox; the reference is bare hosts."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock"))
    slowest = max(max(steps.values()) for steps in each(results, ours, "steps"))
    return [
        line_with_reference(
            f"bring-up of {size.chassis}x{size.nodes}",
            "s",
            each(results, ours, "seconds"),
            each(results, stock, "seconds"),
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
