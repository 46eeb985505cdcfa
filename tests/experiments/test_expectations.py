"""Expectations compared with a summary: met, not met, and not judged."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.verdict.expectations import Condition, Observability, check, judge

SUMMARY = {
    "connections": {"moved": 12, "hung": 0},
    "half_open": {"at_end": 12, "silent": 3, "lifetime_ms": {"p50": None}},
    "claim": [{"element": "E1", "held": 12}, {"element": "E2", "held": 11}],
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
        ("connections.moved", "== half_open.at_end + half_open.silent", False),
        ("connections.moved", "== half_open.at_end + connections.hung", True),
        ("connections.moved", "> half_open.at_end - half_open.silent", True),
        ("connections.moved", "== half_open.at_end - half_open.sient", False),
        ("claim.E1.held", "== connections.moved", True),
        ("claim.E2.held", "== connections.moved", False),
        ("claim.E3.held", 0, False),
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


def of_claim(
    spoke: int | None, unfinished: int = 0, compared: int = 9
) -> dict[str, Any]:
    """A summary with that many cases, of which the first element failed."""
    return {
        "connections": {"spoke": spoke, "unfinished": unfinished, "reset": 2},
        "claim": [{"element": "E1", "passed": False}],
        "measurement": {
            "arrivals_compared": compared,
            "arrivals_not_as_predicted": 0,
        },
    }


CLAIM = "claim.E1.passed"
RESET = "connections.reset"
ARRIVALS = "measurement.arrivals_not_as_predicted"
ALL: dict[str, Condition] = {CLAIM: True, RESET: "== connections.spoke", ARRIVALS: 0}


@pytest.mark.parametrize(
    ("spoke", "unfinished", "compared", "observability", "left"),
    [
        (2, 0, 9, Observability(), set()),
        (None, 0, 0, Observability(captured=False), {CLAIM, RESET, ARRIVALS}),
        (0, 0, 9, Observability(), {CLAIM}),
        (2, 2, 9, Observability(), {CLAIM}),
        (2, 0, 0, Observability(), {ARRIVALS}),
        (2, 0, 9, Observability(hashed=False), {ARRIVALS}),
        (2, 0, 9, Observability(lossy=True), {CLAIM}),
        (2, 0, 9, Observability(too_few=frozenset(("E1",))), {CLAIM}),
        (2, 0, 9, Observability(too_few=frozenset(("E4",))), set()),
    ],
    ids=[
        "all",
        "no capture",
        "no case",
        "no owner",
        "none came",
        "pinned",
        "lossy",
        "few",
        "others few",
    ],
)
def test_conditions_that_cannot_be_judged_are_listed(
    spoke: int | None,
    unfinished: int,
    compared: int,
    observability: Observability,
    left: set[str],
) -> None:
    summary = of_claim(spoke, unfinished, compared)
    met, others = judge(summary, ALL, observability)
    assert {one.key for one in others} == left
    assert all(one.why for one in others)
    assert {one.key for one in met} == ALL.keys() - left
    assert CLAIM in left or not next(one.met for one in met if one.key == CLAIM)


@pytest.mark.parametrize(("unreached", "met"), [(12, True), (11, False), (0, False)])
def test_only_unreachable_owners_may_stay_half_open(unreached: int, met: bool) -> None:
    half_open = {"at_end": 12, "out_of_reach": unreached}
    condition = {"half_open.at_end": "== half_open.out_of_reach"}
    (outcome,) = check({"half_open": half_open}, condition)
    assert outcome.met is met
