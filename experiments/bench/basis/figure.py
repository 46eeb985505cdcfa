"""A figure of the benchmark: where it is measured, and its bound."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.bench.basis.bench_network import Network
from experiments.bench.basis.not_computable import NotComputableError, ratio
from experiments.bench.basis.size import Size
from topologies.domain.plan import Plan


@dataclass(frozen=True)
class Setting:
    """A network to measure. ``kind`` is one of ``networks.NETWORKS``.

    ``datapath``: of all its switches, ``kernel`` or ``userspace``.
    """

    kind: str
    chassis: int
    nodes: int
    clients: int
    datapath: str

    @classmethod
    def array(cls, kind: str, size: Size) -> Setting:
        """That kind of network, of the size of the array."""
        return cls(kind, size.chassis, size.nodes, size.clients, size.datapath)

    @property
    def plan(self) -> Plan:
        """The plan of our network of that size."""
        return Plan.build(self.chassis, self.nodes, self.clients)

    @property
    def name(self) -> str:
        """E.g. ``ours 10x15 kernel``."""
        return f"{self.kind} {self.chassis}x{self.nodes} {self.datapath}"


#: Results of one measurement: numbers, lists and objects, for JSON.
Found = Mapping[str, Any]
#: Setting -> results of each repetition.
Results = Mapping[Setting, Sequence[Found]]
#: Measures on a running network.
Measure = Callable[[Any, Size], Found]


@dataclass(frozen=True)
class Bound:
    """The bound of a ratio or value."""

    limit: float
    at_least: bool
    unit: str = "x"

    def holds(self, value: float) -> bool:
        """Whether that value is within the bound."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Line:
    """One line of the table. ``value`` is compared with the bound; mostly it is a ratio.

    ``spread``: (minimum, maximum) of ``ours`` over the repetitions.
    """

    title: str
    unit: str
    ours: float
    reference: float | None = None
    reference_is: str = ""
    value: float | None = None
    bound: str = ""
    met: bool | None = None
    spread: tuple[float, float] | None = None
    remarks: Sequence[str] = field(default_factory=tuple)
    #: Datapath of all switches, ours and the reference's.
    datapath: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Figure:
    """One figure: its settings, its measurements, and its lines of the table.

    ``measures``: kind of network -> measurement. ``lines`` raises
    :class:`NotComputableError` if the results are complete, and no value follows from them.
    """

    name: str
    title: str
    settings: Callable[[Size], Sequence[Setting]]
    measures: Mapping[str, Measure]
    lines: Callable[[Size, Results], Sequence[Line]]


def settings_of_kinds(kinds: Sequence[str]) -> Callable[[Size], Sequence[Setting]]:
    """The array as each of these kinds of network."""
    return lambda size: [Setting.array(kind, size) for kind in kinds]


def line_with_reference(
    title: str,
    unit: str,
    ours: Sequence[float],
    reference: Sequence[float],
    reference_is: str,
    bound: Bound | None,
    *,
    speedup: bool = False,
    remarks: Sequence[str] = (),
    also: bool = True,
) -> Line:
    """Ours and the reference, medians over repetitions.

    The ratio is ours to reference, with ``speedup`` reference to ours. Without ``bound``
    it is only reported. ``also``: a further condition for the line to be met. Raises
    :class:`NotComputableError` if the divisor is zero.
    """
    our_median, reference_median = statistics.median(ours), statistics.median(reference)
    if speedup:
        value = ratio(reference_median, our_median, f"{title}: our median")
    else:
        value = ratio(our_median, reference_median, f"{title}: the reference's median")
    return Line(
        title=title,
        unit=unit,
        ours=our_median,
        reference=reference_median,
        reference_is=reference_is,
        value=value,
        bound=str(bound) if bound else "",
        met=bound.holds(value) and also if bound else None,
        spread=(min(ours), max(ours)),
        remarks=tuple(remarks),
    )


def line_alone(
    title: str,
    unit: str,
    ours: Sequence[float],
    bound: Bound | None = None,
    remarks: Sequence[str] = (),
    also: bool = True,
) -> Line:
    """Ours without a reference. The bound, if any, is for the value."""
    our_median = statistics.median(ours)
    return Line(
        title=title,
        unit=unit,
        ours=our_median,
        value=our_median if bound else None,
        bound=str(bound) if bound else "",
        met=bound.holds(our_median) and also if bound else None,
        spread=(min(ours), max(ours)),
        remarks=tuple(remarks),
    )


def values_of(results: Results, setting: Setting, key: str) -> list[Any]:
    """The values of a key in all repetitions; ``a.b`` is key ``b`` of object ``a``."""
    return [_inside(found, key) for found in results[setting]]


def numbers_of(results: Results, setting: Setting, key: str) -> list[float]:
    """The same, of a number that is None where nothing was there to measure.

    Raises :class:`NotComputableError` if it is None in any repetition.
    """
    values = values_of(results, setting, key)
    if None in values:
        raise NotComputableError(f"{setting.name}: {key}: nothing to measure")
    return values


def _inside(found: Found, key: str) -> Any:
    value: Any = found
    for part in key.split("."):
        value = value[part]
    return value


def steps_of(network: Network, _size: Size) -> Found:
    """Duration of the bring-up, and of each step."""
    return {"seconds": sum(network.steps.values()), "steps": dict(network.steps)}
