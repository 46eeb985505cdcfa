"""Expectations: a run fails when one is not met, and says which."""

from __future__ import annotations

import pytest

from experiments.expectations import check, expected

SUMMARY = {
    "connections": {"moved": 12, "hung": 0},
    "half_open": {"at_end": 12, "lifetime_ms": {"p50": None}},
    "policy": "client-only",
}


@pytest.mark.parametrize(
    ("key", "condition", "met"),
    [
        ("connections.moved", 12, True),
        ("connections.moved", 11, False),
        ("connections.moved", "> 0", True),
        ("connections.moved", "> 12", False),
        ("connections.moved", "<= 12", True),
        ("half_open.at_end", "== connections.moved", True),
        ("connections.hung", "== connections.moved", False),
        ("policy", "client-only", True),
        ("policy", "!= flood", True),
        ("connections.mooved", 12, False),
        ("half_open.lifetime_ms.p50", "< 5", False),
    ],
)
def test_condition(key: str, condition: str | int, met: bool) -> None:
    (outcome,) = check(SUMMARY, {key: condition})
    assert outcome.met is met
    assert key in str(outcome)


def test_the_specs_word_is_the_last() -> None:
    conditions = expected("flood", {"connections.hung": "> 0"})
    assert conditions["connections.hung"] == "> 0"
    assert conditions["half_open.at_end"] == 0
    assert conditions["data.lost_writes"] == 0
