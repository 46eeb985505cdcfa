"""What a figure of the benchmark is: where it is measured, and what it must reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.bench.basis.bench_network import Network
from experiments.bench.basis.size import Size
from topologies.domain.plan import Plan


@dataclass(frozen=True)
class Setting:
    """A network to be brought up: ``kind`` is one of ``networks.NETWORKS``.

    ``datapath``: of all its switches, ``kernel`` or ``userspace``.
    """

    kind: str
    chassis: int
    nodes: int
    clients: int
    datapath: str

    @classmethod
    def array(cls, kind: str, size: Size) -> Setting:
        """That kind of network, as large as the array."""
        return cls(kind, size.chassis, size.nodes, size.clients, size.datapath)

    @property
    def plan(self) -> Plan:
        """The plan of our network at that size."""
        return Plan.build(self.chassis, self.nodes, self.clients)

    @property
    def name(self) -> str:
        """E.g. ``ours 10x15 kernel``."""
        return f"{self.kind} {self.chassis}x{self.nodes} {self.datapath}"


#: What one measurement found: plain numbers, lists and objects, for JSON.
Found = Mapping[str, Any]
#: Setting -> what each repetition found.
Results = Mapping[Setting, Sequence[Found]]
#: Measures on a network that is up.
Measure = Callable[[Any, Size], Found]


@dataclass(frozen=True)
class Bound:
    """What a ratio or a value must keep to."""

    limit: float
    at_least: bool
    unit: str = "x"

    def holds(self, value: float) -> bool:
        """Whether that value keeps to it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Line:
    """One line of the table. ``value`` is what the bound is about, a ratio mostly.

    ``spread``: (smallest, largest) of ``ours`` over the repetitions.
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
    #: Of all switches, ours and the reference's.
    datapath: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


@dataclass(frozen=True)
class Figure:
    """One figure: the settings it needs, what is measured in each, what the output says of it.

    ``measures``: kind of network -> how it is measured there.
    """

    name: str
    title: str
    settings: Callable[[Size], Sequence[Setting]]
    measures: Mapping[str, Measure]
    lines: Callable[[Size, Results], Sequence[Line]]


def settings_of_kinds(kinds: Sequence[str]) -> Callable[[Size], Sequence[Setting]]:
    """The array in each of these kinds."""
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
    """Ours settings_of_kinds the reference, medians over repetitions.

    The ratio is ours to reference, with ``speedup`` reference to ours; no ``bound``: it
    is told, and need not be anything. ``also``: what else must be true for the line to
    be met.
    """
    mine, other = statistics.median(ours), statistics.median(reference)
    ratio = other / mine if speedup else mine / other
    return Line(
        title=title,
        unit=unit,
        ours=mine,
        reference=other,
        reference_is=reference_is,
        value=ratio,
        bound=str(bound) if bound else "",
        met=bound.holds(ratio) and also if bound else None,
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
    """Ours without a reference: the bound, if there is one, is about the value."""
    mine = statistics.median(ours)
    return Line(
        title=title,
        unit=unit,
        ours=mine,
        value=mine if bound else None,
        bound=str(bound) if bound else "",
        met=bound.holds(mine) and also if bound else None,
        spread=(min(ours), max(ours)),
        remarks=tuple(remarks),
    )


def each(results: Results, setting: Setting, key: str) -> list[Any]:
    """That key of every repetition in that setting; ``a.b`` looks inside ``a``."""
    return [_inside(found, key) for found in results[setting]]


def _inside(found: Found, key: str) -> Any:
    value: Any = found
    for part in key.split("."):
        value = value[part]
    return value


def steps_of(network: Network, _size: Size) -> Found:
    """How long the network took to come up, and each step of it."""
    return {"seconds": sum(network.steps.values()), "steps": dict(network.steps)}
