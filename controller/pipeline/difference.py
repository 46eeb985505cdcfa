"""What must change in the switches, and in which order over the tiers; pure."""

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
    """What makes one switch's tables right: one bundle, in this order.

    Entries are added before others are deleted, because an entry added over one of
    the same match inherits its counters (OpenFlow 1.4, 6.4).
    """

    add: tuple[FlowEntry, ...]
    delete: tuple[T, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to change."""
        return bool(self.add or self.delete)


def difference(installed: Iterable[T], wanted: Sequence[FlowEntry]) -> Change[T]:
    """Adds and strict deletes that turn ``installed`` into ``wanted``.

    An entry is known by table, priority and cookie, its cookie being the digest of its
    content, so nothing is compared field by field. Keys of ``wanted`` are distinct.
    """
    wanted_keys = {entry.key for entry in wanted}
    present = list(installed)
    present_keys = {entry.key for entry in present}
    return Change(
        tuple(entry for entry in wanted if entry.key not in present_keys),
        tuple(entry for entry in present if entry.key not in wanted_keys),
    )


def tiers(state: ClusterState) -> tuple[tuple[str, ...], ...]:
    """Names of the switches in the groups in which they change, one after the other.

    Make before break: every chassis that the fabric is about to balance over is ready
    before the fabric is, and a chassis that leaves is emptied only when the fabric
    sends it nothing any more. In between, each switch is right for its own members.
    Chassis that have failed or are cut off are not there: nobody can wait for them.
    """
    serving = tuple(c.name for c in state.membership.serving_chassis(state.plan))
    reachable = (c.name for c in state.membership.reachable_chassis(state.plan))
    leaving = tuple(name for name in reachable if name not in serving)
    return tuple(group for group in (serving, (FABRIC,), leaving) if group)
