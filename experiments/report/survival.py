"""The distribution of times of which some are lower bounds (censored); pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Curve(NamedTuple):
    """Steps ``(time, share ended by then)``, and marks ``(time, share)`` for censored times."""

    steps: tuple[tuple[float, float], ...]
    marks: tuple[tuple[float, float], ...]


def ended_share(times: Sequence[tuple[float, bool]]) -> Curve:
    """The Kaplan-Meier estimate of the distribution of times ``(time, censored)``.

    Without censored times it is the empirical distribution function. A censored time is
    a lower bound: it reduces the number at risk, but makes no step. Kaplan and Meier,
    J. Amer. Statist. Assoc. 53 (1958), 457-481.
    """
    survival, at_risk = 1.0, len(times)
    steps: list[tuple[float, float]] = []
    marks: list[tuple[float, float]] = []
    for time, censored in sorted(times):  # at one time, endings come first
        if censored:
            marks.append((time, 1 - survival))
        else:
            survival *= 1 - 1 / at_risk
            steps.append((time, 1 - survival))
        at_risk -= 1
    return Curve(tuple(steps), tuple(marks))


def quantile(curve: Curve, share: float) -> float | None:
    """The first time by which that share has ended; None if it is not reached."""
    return next((time for time, ended in curve.steps if ended >= share - 1e-9), None)
