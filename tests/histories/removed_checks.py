"""Checks of the guard and the healer that are taken away, to see the machine miss them.

The guard's are in ``nodes/guard/verdict.py`` (:data:`FITS`). The others are in the world
and its nodes, by name.
"""

from __future__ import annotations

from collections.abc import Callable

from nodes.guard import verdict
from nodes.guard.segment import Flags, Segment, distance, within
from nodes.guard.verdict import SEQUENCE_SLACK, Fit, Numbers

_FIT_OF_RELAYED = verdict.fit_of_relayed
_Fits = Callable[[Segment, "Numbers | None"], Fit]


def _without_sent(copy: Segment, numbers: Numbers | None) -> Fit:
    """It need not name what this node has sent."""
    if numbers is None:
        return Fit.UNSURE
    near = abs(distance(numbers.rcv_nxt, copy.ack)) <= SEQUENCE_SLACK
    return Fit.FITS if near else Fit.MISFITS


def _without_near(copy: Segment, numbers: Numbers | None) -> Fit:
    """It need not be near to what its client has sent."""
    if numbers is None:
        return Fit.UNSURE
    sent = within(numbers.snd_una, copy.seq, numbers.snd_nxt)
    return Fit.FITS if sent else Fit.MISFITS


def _without_exact(reset: Segment, numbers: Numbers | None) -> Fit:
    """A relayed bare RST need not equal RCV.NXT."""
    if numbers is None or reset.flags & Flags.ACK:
        return _FIT_OF_RELAYED(reset, numbers)
    return Fit.FITS


#: What is taken away -> the function of the product, and what is in its place.
FITS: dict[str, tuple[str, _Fits]] = {
    "fit-sent": ("fit_of", _without_sent),
    "fit-near": ("fit_of", _without_near),
    "exact": ("fit_of_relayed", _without_exact),
}
#: Those of memory, budget and healer.
OTHERS = (
    *("syn-forgets", "embryonic", "quiet", "budget"),
    *("heal", "deadline", "return", "cookie"),
)
