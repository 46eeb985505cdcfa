"""The record of one event: what was requested, when it was applied, and the states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from topologies.domain.link_options import LinkOptions


@dataclass(frozen=True)
class EventRecord:
    """One event. Times are CLOCK_REALTIME seconds.

    ``applied_s``: every switch has confirmed its tables by a barrier. ``settled_s``: no
    cached datapath flow forwards by the old tables any more. Events of one instant have
    the same times and states. Where an instant changes only links, ``applied_s`` is when
    they are shaped, and nothing has to settle. ``link``: what a link was shaped to; None
    for a membership event.
    """

    kind: str
    target: str
    requested_s: float
    applied_s: float
    settled_s: float | None
    before: ClusterState
    after: ClusterState
    link: LinkOptions | None = None

    def to_json(self) -> dict[str, Any]:
        """Kind, target and times, as in a run's summary; of a link also its options."""
        return {
            "kind": self.kind,
            "target": self.target,
            "requested_s": self.requested_s,
            "applied_s": self.applied_s,
            "settled_s": self.settled_s,
            **(self.link.to_json() if self.link else {}),
        }


def one_per_instant(records: Iterable[EventRecord]) -> list[EventRecord]:
    """One record of each instant, in order: one for each change of state."""
    return list({record.requested_s: record for record in records}.values())
