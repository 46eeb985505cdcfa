"""Random histories of a whole cluster violate nothing; without a check they do.

``RESETBED_HISTORIES=100000`` takes that many steps in place of 5,000.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from nodes.guard import verdict
from tests.histories.history_machine import Histories
from tests.histories.removed_checks import FITS
from tests.histories.scripted_histories import HISTORIES
from tests.histories.tcp_ends import Violation
from tests.histories.world import World

STEPS = int(os.environ.get("RESETBED_HISTORIES", "5000"))
#: Steps of one history.
LENGTH = 50

_SETTINGS = settings(
    max_examples=max(1, STEPS // LENGTH),
    stateful_step_count=LENGTH,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def test_random_histories_violate_nothing() -> None:
    run_state_machine_as_test(Histories, settings=_SETTINGS)


def take_away(monkeypatch: pytest.MonkeyPatch, check: str) -> frozenset[str]:
    """For the world, and from the product."""
    if check in FITS:
        name, weaker = FITS[check]
        monkeypatch.setattr(verdict, name, weaker)
    return frozenset({check})


@pytest.mark.parametrize("check", HISTORIES)
def test_each_check_is_needed(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    """In one and the same history: with it nothing happens, without it something does."""
    HISTORIES[check](World("flood", "rendezvous"))
    removed = take_away(monkeypatch, check)
    with pytest.raises(Violation):
        HISTORIES[check](World("flood", "rendezvous", removed))


@pytest.mark.parametrize("check", ["quiet", "heal", "deadline"])
def test_random_histories_find_what_comes_without(
    monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    """They are always the same, so that it does not depend on luck."""

    class Weaker(Histories):
        removed = take_away(monkeypatch, check)
        policies = ("flood",)

    searching = settings(
        _SETTINGS,
        max_examples=400,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(Violation):
        run_state_machine_as_test(Weaker, settings=searching)
