"""Whether a run's measurement can be trusted: the reasons against it, from what the
instruments say of themselves and of each other. Pure.

A run that cannot be trusted is neither as expected nor not: its figures may be those of
what was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: What a run came to.
AS_EXPECTED, UNEXPECTED, UNTRUSTED = "as-expected", "unexpected", "untrusted"

#: Exit status of each outcome.
EXIT_STATUS = {AS_EXPECTED: 0, UNEXPECTED: 1, UNTRUSTED: 4}

Figures = Mapping[str, Any]


def _blind_probes(seen: Figures) -> str | None:
    if seen["opened"] and not seen["opened_by_kernel"]:
        return (
            f"the probes saw none of {seen['opened']} connections that clients opened"
        )
    return None


def _opened_differs(seen: Figures) -> str | None:
    told, counted = seen["opened"], seen["opened_by_kernel"]
    if counted and told != counted:
        return f"clients opened {told} connections by their word, {counted} by the kernel's"
    return None


def _blind_capture(seen: Figures) -> str | None:
    if seen["opened"] and seen["captured"] == 0:
        return "the capture holds no segment"
    return None


def _faulty_cluster(seen: Figures) -> str | None:
    faults = seen.get("supervisor_faults") or ()
    if faults:
        return f"{len(faults)} faults in the cluster's own threads: {faults[0]}"
    return None


#: A figure of ``measurement`` that must be zero -> what it is, for people.
LOSSES: Mapping[str, str] = {
    "events_lost": "socket events were lost",
    "sockets_begun_unseen": "sockets were there whose beginning was not seen",
    "dropped": "segments were dropped from the capture",
    "switch_drops": "frames were lost at switches that did not read them in time",
    "clock_step_ns": "ns is how far the clock was set during the run",
    "clients_without_summary": "clients ended without a summary",
}

#: What the instruments say of each other.
DISAGREEMENTS: tuple[Callable[[Figures], str | None], ...] = (
    _blind_probes,
    _opened_differs,
    _blind_capture,
    _faulty_cluster,
)


def reasons(measurement: Figures, opened: int) -> list[str]:
    """Why the measurement cannot be trusted, a sentence each; none where it can.

    ``measurement``: the figures of that key in ``summary.json``; ``opened``: how many
    connections the clients opened by their own word.
    """
    lost = [
        f"{measurement[key]} {what}"
        for key, what in LOSSES.items()
        if measurement.get(key)
    ]
    seen = {**measurement, "opened": opened}
    return lost + [why for one in DISAGREEMENTS if (why := one(seen))]


def outcome(why_not: list[str], all_met: bool) -> str:
    """The outcome of a run: of its measurement first, then of its expectations."""
    if why_not:
        return UNTRUSTED
    return AS_EXPECTED if all_met else UNEXPECTED


def worst(outcomes: list[str]) -> str:
    """What several runs come to together: an expectation that was certainly not met
    says more than one of which nothing is known."""
    for one in (UNEXPECTED, UNTRUSTED):
        if one in outcomes:
            return one
    return AS_EXPECTED
