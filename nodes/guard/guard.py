"""The interface of every guard, its counters and its error.

The guard of a storage node decides for each arriving segment whether the node recognises
it (claim E1). It resets the client of a segment that is not recognised (E2). For a
fan-out copy of such a reset it frees exactly that connection (E5). The decisions are the
table in :mod:`nodes.guard.verdict`. :mod:`nodes.guard.guards` lists the implementations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nodes.guard.budget import UNLIMITED, Budget
from nodes.guard.verdict import Mode
from topologies.domain.site import Site


class GuardError(RuntimeError):
    """A guard could not be built, attached or read. The text says what failed."""


@dataclass(frozen=True)
class GuardSettings:
    """What a guard does, on all of its nodes.

    ``mode``: how strays are handled. ``healing``: whether clients' own resets that find
    no connection are relayed to their owners. ``budget``: how many fan-outs it may cause.
    """

    mode: Mode = Mode.ANSWER
    healing: bool = False
    budget: Budget = UNLIMITED


@dataclass
class GuardCounters:
    """Packet counters of one node's guard, since it was attached.

    ``strays``: segments it did not recognise. ``resets``: "not recognised" resets that it
    sent. ``copies_received``: fan-out copies. ``copies_accepted``: copies that freed a
    connection. ``copies_rejected``: copies for a connection held here that did not match
    its sequence numbers. All other copies, which is most of them, are for connections of
    other nodes. ``passed_on``: strays that it redirected to an earlier owner.
    ``resets_repeated``: strays answered by a reset that is not fanned out, because one
    with another number was within RESET_INTERVAL_S. ``resets_limited``: the same, because
    the budget refused the fan-out. ``relays_sent``: clients' resets that it relayed;
    ``relays_limited``: those that the budget refused. ``relays_received`` and
    ``relays_accepted``: relayed resets, and those that freed a connection. ``probes``:
    keepalives sent for the healer. ``unreadable``: TCP packets to the virtual address
    that it dropped, because they have IP options or extension headers, are fragments, or
    have no valid header.
    """

    strays: int = 0
    resets: int = 0
    copies_received: int = 0
    copies_accepted: int = 0
    copies_rejected: int = 0
    passed_on: int = 0
    resets_repeated: int = 0
    resets_limited: int = 0
    relays_sent: int = 0
    relays_limited: int = 0
    relays_received: int = 0
    relays_accepted: int = 0
    probes: int = 0
    unreadable: int = 0


class Guard(Protocol):
    """A guard for any number of nodes. Methods raise :class:`GuardError`."""

    name: str
    #: Cost of :meth:`check` for each node, in seconds of one core.
    check_cost_s: float

    def attach(self, sites: Sequence[Site], settings: GuardSettings) -> None:
        """Guard these nodes too. Returns when the guard is active on all of them.

        ``settings`` hold for all sites of this guard, also for those attached before.
        """

    def detach(self, name: str) -> None:
        """Stop guarding that node. Raises :class:`KeyError` for an unknown name."""

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, for every attached node."""

    def check(self) -> list[str]:
        """Attach again where the guard is missing. Returns the nodes concerned."""

    def close(self) -> None:
        """Detach from every node and clean up. May be called again."""
