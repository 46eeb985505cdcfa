"""The changes that switches need, and the order of the tiers; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from controller.flows.entries import FlowEntry, FlowKey
from controller.pipeline.cluster_state import ClusterState
from topologies.domain.plan import FABRIC


class Installed(Protocol):
    """A flow entry that a switch has."""

    @property
    def key(self) -> FlowKey:
        """Identity of the entry in the switch."""


T = TypeVar("T", bound=Installed)


@dataclass(frozen=True)
class Change(Generic[T]):
    """The update of one switch's tables: one bundle, in this order.

    Adds come before deletes, because an entry added over one with the same match keeps
    its counters (OpenFlow 1.4, 6.4).
    """

    add: tuple[FlowEntry, ...]
    delete: tuple[T, ...]

    def __bool__(self) -> bool:
        """Whether the change is not empty."""
        return bool(self.add or self.delete)


def difference(installed: Iterable[T], desired: Sequence[FlowEntry]) -> Change[T]:
    """Adds and strict deletes that turn ``installed`` into ``desired``.

    Entries are compared by table, priority and cookie. The cookie is the digest of the
    content, so no field is compared. Keys of ``desired`` are distinct.
    """
    desired_keys = {entry.key for entry in desired}
    present = list(installed)
    present_keys = {entry.key for entry in present}
    return Change(
        tuple(entry for entry in desired if entry.key not in present_keys),
        tuple(entry for entry in present if entry.key not in desired_keys),
    )


def tiers(state: ClusterState) -> tuple[tuple[str, ...], ...]:
    """The switches in groups, by name; the groups are updated one after the other.

    Make before break. Every chassis that the fabric will balance over is updated before
    the fabric. A chassis that leaves is updated after the fabric, which then sends it
    nothing any more. In between, each switch is correct for its own members. Failed and
    cut-off chassis are left out: they cannot confirm.
    """
    serving = tuple(c.name for c in state.membership.serving_chassis(state.plan))
    reachable = (c.name for c in state.membership.reachable_chassis(state.plan))
    leaving = tuple(name for name in reachable if name not in serving)
    return tuple(group for group in (serving, (FABRIC,), leaving) if group)
