"""A recorded timeline of a real run violates nothing; spoil one fact of it, and it does.

``chaos_timeline.jsonl.gz``: the first half minute of
``./resetbed chaos --for 240s --events 400 --seed 4``, on the cluster of the defaults.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from experiments.chaos.chaos_facts import (
    Begun,
    Changed,
    Closed,
    Ended,
    Fact,
    Look,
    Memory,
    NodeSocket,
    Opened,
    of_line,
    to_line,
)
from experiments.chaos.chaos_judge import ChaosJudge, Terms
from experiments.chaos.violation import (
    HALF_OPEN,
    MEMORY,
    NOT_RESTARTED,
    UNMOVED_RESET,
)
from tests.experiments.chaos_stories import BALANCER, BOUND_S, SLACK_S, START

RECORDED = Path(__file__).with_name("chaos_timeline.jsonl.gz")
#: Takes a timeline and returns another, in which one thing is not as it was.
Spoil = Callable[[Sequence[Fact]], list[Fact]]


@cache
def recorded() -> tuple[Fact, ...]:
    text = gzip.decompress(RECORDED.read_bytes()).decode()
    return tuple(map(of_line, text.splitlines()))


def judged(facts: Sequence[Fact]) -> tuple[set[str], ChaosJudge]:
    """The invariants that are violated, and the judge."""
    judge = ChaosJudge(Terms(START, BALANCER, BOUND_S, SLACK_S))
    return {one.invariant for fact in facts for one in judge.feed(fact)}, judge


def looks(facts: Sequence[Fact]) -> list[Look]:
    return [fact for fact in facts if isinstance(fact, Look)]


def test_it_violates_nothing_and_there_is_something_to_judge() -> None:
    found, judge = judged(recorded())
    assert found == set()
    assert judge.half_open.seen > 50
    assert judge.resets.moved > 50
    assert 0 < judge.half_open.worst_s < BOUND_S


def test_each_line_is_written_as_it_was_read() -> None:
    assert all(of_line(to_line(fact)) == fact for fact in recorded())


def a_socket_that_stays(facts: Sequence[Fact]) -> list[Fact]:
    """One that was half open, on a node that keeps its power and its way, is never freed."""
    kept = _freed_one(facts)
    last = next(look for look in looks(facts)[::-1] if kept in look.held)
    return [
        replace(fact, held=(*fact.held, kept))
        if isinstance(fact, Look) and fact.t > last.t
        else fact
        for fact in facts
    ]


def _freed_one(facts: Sequence[Fact]) -> NodeSocket:
    """A socket that nobody's client has in its last look, while nothing is idle."""
    all_looks = looks(facts)
    for look, later in zip(all_looks, all_looks[1:], strict=False):
        for one in look.held:
            gone = one not in later.held and one.connection not in look.of_clients
            reachable = one.node.startswith("c2") and look.t < facts[-1].t - 10
            if gone and reachable and not look.idle:
                return one
    raise AssertionError("no socket was half open")


def a_reset_without_a_move(facts: Sequence[Fact]) -> list[Fact]:
    """A connection that was closed without one is reset, before anything moved."""
    first = next(fact for fact in facts if isinstance(fact, Opened))
    reset = Closed(first.t + 0.1, first.connection, reset=True)
    return sorted([*facts, reset], key=lambda fact: fact.t)


def changes_that_nobody_made(facts: Sequence[Fact]) -> list[Fact]:
    """The record loses what the membership became; connections were reset for nothing."""
    return [
        replace(fact, arrangement=START) if isinstance(fact, Changed) else fact
        for fact in facts
    ]


def a_controller_that_stays_dead(facts: Sequence[Fact]) -> list[Fact]:
    dead = frozenset({"controller"})
    calm = [fact for fact in facts if isinstance(fact, Look)]
    return [replace(look, ended=dead, idle=look.idle | dead) for look in calm]


def memory_that_grows(facts: Sequence[Fact]) -> list[Fact]:
    return [
        replace(fact, kib={"healer": fact.kib["healer"] * 2**number})
        for number, fact in enumerate(
            fact for fact in facts if isinstance(fact, Memory) and "healer" in fact.kib
        )
    ]


@pytest.mark.parametrize(
    "spoil, violated",
    [
        (a_socket_that_stays, HALF_OPEN),
        (a_reset_without_a_move, UNMOVED_RESET),
        (changes_that_nobody_made, UNMOVED_RESET),
        (a_controller_that_stays_dead, NOT_RESTARTED),
        (memory_that_grows, MEMORY),
    ],
)
def test_spoilt_it_does(spoil: Spoil, violated: str) -> None:
    found, _ = judged(spoil(recorded()))
    assert violated in found


def test_what_was_done_has_an_end() -> None:
    """Everything that was stopped, cut off or lost is back, but for what came last."""
    begun = [fact.action for fact in recorded() if isinstance(fact, Begun)]
    ended = [fact.action for fact in recorded() if isinstance(fact, Ended)]
    assert set(ended) <= set(begun)
    assert len(begun) - len(ended) <= 1


def _connections() -> Iterator[NodeSocket]:
    for look in looks(recorded()):
        yield from look.held


def test_both_ip_versions_and_both_services_are_in_it() -> None:
    seen = {(":" in one.connection.src, one.connection.dport) for one in _connections()}
    assert seen == {(v6, port) for v6 in (False, True) for port in (7777, 10809)}
