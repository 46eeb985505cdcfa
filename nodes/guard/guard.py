"""What a guard is, whatever it is built on: its sites, its counters, its interface.

The guard of a storage node decides for each segment that reaches the node whether the
node recognises it (claim E1), resets the client of one that it does not (E2), and on a
fan-out copy of such a reset frees exactly that connection (E5). The decisions are the
table in :mod:`nodes.guard.verdict`; implementations are listed in :mod:`nodes.guard.guards`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nodes.guard.verdict import Mode
from topologies.domain.site import Site


class GuardError(RuntimeError):
    """A guard could not be built, attached or asked; the text says what failed."""


@dataclass
class GuardCounters:
    """What one node's guard has seen and done since it was attached, in packets.

    ``strays``: segments it did not recognise; ``resets``: "not recognised" resets it
    sent for them. ``copies_received``: fan-out copies; ``copies_accepted``: those that
    freed a connection; ``copies_rejected``: those that named a connection held here
    but did not fit its sequence numbers. The rest of the copies named no connection
    of this node, which is what most copies do. ``passed_on``: strays that it sent on
    to an earlier owner.
    """

    strays: int = 0
    resets: int = 0
    copies_received: int = 0
    copies_accepted: int = 0
    copies_rejected: int = 0
    passed_on: int = 0


class Guard(Protocol):
    """A guard for any number of nodes. Errors of the machine: :class:`GuardError`."""

    name: str
    #: What :meth:`check` costs for each node, in seconds of one core.
    check_cost_s: float

    def attach(self, sites: Sequence[Site], mode: Mode) -> None:
        """Guard these nodes too; return once their segments are being judged.

        ``mode``: what strays get. It holds for every site of this guard, those
        attached before included.
        """

    def detach(self, name: str) -> None:
        """Stop guarding the node of that name. Raises :class:`KeyError` if unknown."""

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, of every node attached."""

    def check(self) -> list[str]:
        """Put back what is no longer in place; the names of the nodes concerned."""

    def close(self) -> None:
        """Detach from every node and leave nothing behind. May be called again."""
