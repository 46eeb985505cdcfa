"""Whether a figure is reliable, by the load and the delays of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.bench.basis.figure import Setting

#: Maximum shares of all cores: of other processes, and of other virtual machines.
MAX_OTHERS = 0.10
MAX_STEAL = 0.05
#: Figures for a quiet cluster, which need a machine that is not saturated.
QUIET = ("round-trip", "reset-latency")
MAX_BUSY_WHEN_QUIET = 0.90
#: For the same figures: maximum wake-up delay (p99).
MAX_DELAY_WHEN_QUIET_MS = 5.0


def unreliable_reasons(
    figure: str, raw: Mapping[Setting, Sequence[Mapping[str, Any]]]
) -> Sequence[str]:
    """Why that figure is not reliable, one sentence per reason; empty if it is."""
    found = []
    for setting, repetitions in raw.items():
        for number, repetition in enumerate(repetitions, start=1):
            load = repetition["figures"].get(figure, {}).get("load")
            where = f"{setting.name}, repetition {number}"
            if load:
                found += [f"{where}: {why}" for why in _reasons(figure, load)]
    return found


def _reasons(figure: str, load: Mapping[str, Any]) -> Iterator[str]:
    if load["strangers"] > MAX_OTHERS:
        yield f"other processes took {load['strangers']:.0%} of the machine"
    if load["stolen"] > MAX_STEAL:
        yield f"other machines took {load['stolen']:.0%} of this one"
    if figure in QUIET and load["busy"] > MAX_BUSY_WHEN_QUIET:
        yield f"the machine was {load['busy']:.0%} busy"
    if figure in QUIET and load["late_p99_ms"] > MAX_DELAY_WHEN_QUIET_MS:
        yield f"clocks ran {load['late_p99_ms']:.1f} ms late"
