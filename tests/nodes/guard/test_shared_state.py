"""The file that a guard process shares with its owner, read from two sides."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.guard.budget import Budget, Limit
from nodes.guard.guard import GuardCounters, GuardSettings
from nodes.guard.shared_state import SharedState
from nodes.guard.verdict import Mode

NAMES = [field.name for field in fields(GuardCounters)]


def test_a_new_file_counts_from_zero(tmp_path: Path) -> None:
    assert SharedState(tmp_path / "state").counters() == GuardCounters()


@given(st.lists(st.sampled_from(NAMES), max_size=30))
def test_each_counter_counts_its_own(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("guard") / "state"
    guard, owner = SharedState(path), SharedState(path)
    for name in steps:
        guard.increment(name)
    assert Counter(asdict(owner.counters())) == Counter(steps)


SETTINGS = GuardSettings(
    Mode.PASS_ON, True, Budget(Limit(3.5, 7.0), Limit(11.0, 13.5), 7)
)


@pytest.mark.parametrize(
    "settings", [*(GuardSettings(mode) for mode in Mode), SETTINGS]
)
def test_the_owner_sets_what_the_guard_does_and_the_guard_reads_it(
    tmp_path: Path, settings: GuardSettings
) -> None:
    guard, owner = SharedState(tmp_path / "state"), SharedState(tmp_path / "state")
    owner.settings = settings
    assert guard.settings == settings
    assert guard.counters() == GuardCounters(), "settings are no counters"


def test_a_guard_that_starts_again_counts_on(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = SharedState(path)
    first.settings = SETTINGS
    first.increment("resets")
    del first
    again = SharedState(path)
    again.increment("resets")
    assert again.counters() == GuardCounters(resets=2)
    assert again.settings == SETTINGS


def test_clearing_leaves_the_settings(tmp_path: Path) -> None:
    state = SharedState(tmp_path / "state")
    state.settings = SETTINGS
    for name in NAMES:
        state.increment(name)
    state.clear()
    assert state.counters() == GuardCounters()
    assert state.settings == SETTINGS


def test_a_counter_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        SharedState(tmp_path / "state").increment("stray")
