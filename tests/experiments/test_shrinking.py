"""Delta debugging of schedules, with a made-up runner in place of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from experiments.chaos.chaos_actions import Action, Do
from experiments.chaos.shrinking import Limit, shrink, until, without_pauses

ACTIONS = tuple(Action(float(n), Do.KILL, f"server c1n{n}") for n in range(1, 41))


class Runner:
    """Violates whenever all of ``causes`` are among the actions, in their order."""

    def __init__(self, *causes: int) -> None:
        self.causes = [ACTIONS[n] for n in causes]
        self.runs: list[int] = []

    def violates(self, actions: Sequence[Action]) -> bool:
        """One run."""
        self.runs.append(len(actions))
        return [one for one in actions if one in self.causes] == self.causes


def endless() -> Limit:
    return Limit(10_000, 1e9)


@pytest.mark.parametrize(
    "causes", [(0,), (39,), (17,), (0, 39), (3, 4), (5, 20, 33), (0, 1, 2, 3)]
)
def test_only_the_causes_are_left(causes: tuple[int, ...]) -> None:
    runner = Runner(*causes)
    assert list(shrink(ACTIONS, runner.violates, endless())) == runner.causes


def test_of_a_chain_nothing_can_be_left_out() -> None:
    runner = Runner(*range(40))
    assert shrink(ACTIONS, runner.violates, endless()) == ACTIONS


def test_a_violation_that_does_not_repeat_is_left_whole() -> None:
    assert shrink(ACTIONS, lambda _: False, endless()) == ACTIONS


@pytest.mark.parametrize("tries", [0, 1, 5, 12])
def test_the_number_of_tries_is_bounded(tries: int) -> None:
    """What is returned then still violates."""
    runner = Runner(7, 25)
    found = shrink(ACTIONS, runner.violates, Limit(tries, 1e9))
    assert len(runner.runs) == tries
    assert runner.violates(found)


def test_the_time_is_bounded() -> None:
    """Each look at the clock takes a second."""
    ticks = iter(range(1000))
    runner = Runner(7, 25)
    shrink(ACTIONS, runner.violates, Limit(10_000, 6, now=lambda: next(ticks)))
    assert len(runner.runs) == 5


def test_actions_after_the_violation_are_left_out() -> None:
    assert until(ACTIONS, 3.0) == ACTIONS[:3]


def test_pauses_are_shortened_and_the_order_stays() -> None:
    few = [ACTIONS[0], ACTIONS[1], ACTIONS[30], ACTIONS[31]]
    times = [one.at_s for one in without_pauses(few, bound_s=2.0)]
    assert times == [1.0, 2.0, 8.0, 9.0]
    assert [one.target for one in without_pauses(few, 2.0)] == [x.target for x in few]
