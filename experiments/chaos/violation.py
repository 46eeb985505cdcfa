"""A violation of an invariant: which one, when, and what was seen."""

from __future__ import annotations

from typing import NamedTuple

UNMOVED_RESET = "unmoved-reset"
HALF_OPEN = "half-open"
LOST_WRITE = "lost-write"
WRONG_ECHO = "wrong-echo"
NOT_RESTARTED = "not-restarted"
MEMORY = "memory"
FAULT = "fault"

#: Every invariant, and what it says.
INVARIANTS = {
    UNMOVED_RESET: "no connection is reset that did not move",
    HALF_OPEN: "no connection is half open longer than the bound",
    LOST_WRITE: "each block's history is linearisable: no acknowledged write is lost",
    WRONG_ECHO: "each answer is that to the request",
    NOT_RESTARTED: "each program that ended runs again",
    MEMORY: "no program's memory grows without bound",
    FAULT: "no error in the cluster's own threads, and no event fails",
}


class Violation(NamedTuple):
    """``invariant``: a key of :data:`INVARIANTS`. ``t``: CLOCK_REALTIME seconds."""

    invariant: str
    t: float
    text: str
