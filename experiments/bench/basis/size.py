"""Size of the benchmark: cluster, numbers of connections, repetitions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from topologies.datapaths import USERSPACE


@dataclass(frozen=True)
class Size:
    """All that ``--quick`` changes, and the measured datapath."""

    name: str
    repetitions: int
    #: New connections in one measurement of their rate.
    openings: int
    #: Numbers of unanswered connects of a client; the best one counts for each network.
    windows: tuple[int, ...]
    #: Open connections when a chassis leaves.
    held: int
    #: The same for the naive reference.
    held_naive: tuple[int, ...]
    #: Growth: numbers of chassis, and numbers of connections for each.
    growth_chassis: tuple[int, ...]
    growth_connections: tuple[int, ...]
    #: Single requests of a latency measurement.
    requests: int
    bulk_seconds: float
    #: Chassis, and nodes in each, of the large cluster; None: not measured.
    beyond: tuple[int, int] | None
    beyond_connections: int = 5000
    #: The datapath of all switches, ours and the references': ``kernel`` or ``userspace``.
    datapath: str = USERSPACE
    #: The array itself.
    chassis: int = 10
    nodes: int = 15
    clients: int = 4

    def on(self, datapath: str) -> Size:
        """The same size on that datapath."""
        return replace(self, datapath=datapath)

    def to_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Size:
        """The size that :meth:`to_json` wrote."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in data.items()
        }
        return cls(**values)


FULL = Size(
    name="full",
    repetitions=3,
    openings=10_000,
    windows=(8, 32, 128),
    held=10_000,
    held_naive=(100, 400),
    growth_chassis=(1, 2, 4, 7, 10),
    growth_connections=(100, 1000, 5000, 20_000),
    requests=1000,
    bulk_seconds=4.0,
    beyond=(40, 25),
)

QUICK = Size(
    name="quick",
    repetitions=1,
    openings=4000,
    windows=(32, 128),
    held=10_000,
    held_naive=(100,),
    growth_chassis=(1, 3, 10),
    growth_connections=(100, 1000, 3000),
    requests=300,
    bulk_seconds=2.0,
    beyond=None,
)
