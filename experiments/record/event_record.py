"""One event as it happened: what was asked for, when the switches had it, what followed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controller.pipeline.cluster_state import ClusterState


@dataclass(frozen=True)
class EventRecord:
    """One event as it happened; times are CLOCK_REALTIME seconds.

    ``applied_s``: every switch confirmed its tables by a barrier. ``settled_s``: and no
    cached datapath flow forwards by the old ones any more. Events of one instant share
    the times and both states.
    """

    kind: str
    target: str
    requested_s: float
    applied_s: float
    settled_s: float | None
    before: ClusterState
    after: ClusterState

    def to_json(self) -> dict[str, Any]:
        """Kind, target and times, as in a run's summary."""
        return {
            "kind": self.kind,
            "target": self.target,
            "requested_s": self.requested_s,
            "applied_s": self.applied_s,
            "settled_s": self.settled_s,
        }


def one_per_instant(records: Iterable[EventRecord]) -> list[EventRecord]:
    """One of the records of each instant, in their order: one for each change of state."""
    return list({record.requested_s: record for record in records}.values())
