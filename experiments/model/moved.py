"""Connections that a change has moved, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.model.durations import Times
from experiments.model.flows import Flows
from experiments.model.routes import Mask, Routes
from experiments.model.step_functions import Index
from experiments.model.tuple_hash import Hashes


@dataclass
class Moved:
    """Connections that a change has moved. ``index``: which ones. ``owner``: their node,
    ``era``: the one of the move, ``loss``: in which the owner loses its connections with
    its power. ``last``: when nothing more happens to them: they end, or are not watched.
    """

    flows: Flows
    hashes: Hashes
    routes: Routes
    index: Index
    owner: Index
    era: Index
    loss: Index
    last: Times
    horizon_s: float

    def __len__(self) -> int:
        """How many."""
        return len(self.index)


def reaches(moved: Moved, which: Index, era: Index) -> Mask:
    """Whether packets reach the owners in that era, which still hold the connections."""
    reach = moved.routes.reach
    reached = reach.values[reach.at(moved.owner[which], era)] > 0
    return reached & (moved.loss[which] > era)
