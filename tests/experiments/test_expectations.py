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
    assert conditions["half_open.at_end"] == "== half_open.out_of_reach"
    assert conditions["data.lost_writes"] == 0


@pytest.mark.parametrize(
    ("policy", "events", "kept"),
    [
        ("second-chance", [["drain-node", "add-node"]], True),
        ("second-chance", [["drain-node"], ["add-node"]], False),
        ("second-chance", [["reseed"]], True),
        ("second-chance", [["uplink-down"]], False),
        ("stateful", [["drain-node"], ["reseed"]], True),
        ("stateful", [["drain-node", "fail-node"]], False),
        ("flood", [["drain-node"]], False),
    ],
)
def test_what_avoids_resets_promises_it_where_it_can(
    policy: str, events: list[list[str]], kept: bool
) -> None:
    assert ("connections.reset" in expected(policy, {}, events)) is kept


@pytest.mark.parametrize(("unreached", "met"), [(12, True), (11, False), (0, False)])
def test_half_open_is_only_what_no_copy_could_reach(unreached: int, met: bool) -> None:
    half_open = {"at_end": 12, "out_of_reach": unreached}
    condition = expected("flood", {})["half_open.at_end"]
    (outcome,) = check({"half_open": half_open}, {"half_open.at_end": condition})
    assert outcome.met is met
