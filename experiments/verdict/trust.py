"""Whether a run's measurement is reliable: the reasons against it, by the losses and the
disagreements of its instruments. Pure.

An unreliable run is neither as expected nor unexpected: its figures may be wrong because
of what was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Outcomes of a run.
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
    reported, counted = seen["opened"], seen["opened_by_kernel"]
    if counted and reported != counted:
        return f"clients report {reported} opened connections, the kernel {counted}"
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


#: Looks at the locks are 20 a second. What a client waits in vain lasts longer than this.
LOCKS_UNSEEN_S = 1.0


def _blind_lock_monitor(seen: Figures) -> str | None:
    unseen_s = seen.get("locks_unseen_s")
    if unseen_s is not None and unseen_s > LOCKS_UNSEEN_S:
        return f"the lock monitor did not look for {unseen_s} s"
    return None


#: A figure of ``measurement`` that must be zero -> its description.
LOSSES: Mapping[str, str] = {
    "events_lost": "socket events were lost",
    "sockets_begun_unseen": "sockets were seen, but not their opening",
    "dropped": "segments were dropped from the capture",
    "switch_drops": "frames were lost because switches did not read them in time",
    "clock_step_ns": "ns is how far the clock was set during the run",
    "clients_without_summary": "clients ended without a summary",
}

#: Checks of instruments against each other.
DISAGREEMENTS: tuple[Callable[[Figures], str | None], ...] = (
    _blind_probes,
    _opened_differs,
    _blind_capture,
    _faulty_cluster,
    _blind_lock_monitor,
)


def reasons(measurement: Figures, opened: int) -> list[str]:
    """Why the measurement is unreliable, a sentence each; empty if it is reliable.

    ``measurement``: the figures of that key in ``summary.json``. ``opened``: how many
    connections the clients report as opened.
    """
    lost = [
        f"{measurement[key]} {what}"
        for key, what in LOSSES.items()
        if measurement.get(key)
    ]
    seen = {**measurement, "opened": opened}
    return lost + [why for check in DISAGREEMENTS if (why := check(seen))]


def outcome(why_not: list[str], all_met: bool) -> str:
    """The outcome of a run: first by its measurement, then by its expectations."""
    if why_not:
        return UNTRUSTED
    return AS_EXPECTED if all_met else UNEXPECTED


def worst(outcomes: list[str]) -> str:
    """The outcome of several runs together. Unexpected ranks before untrusted: it is
    known, the other is not."""
    for rank in (UNEXPECTED, UNTRUSTED):
        if rank in outcomes:
            return rank
    return AS_EXPECTED
