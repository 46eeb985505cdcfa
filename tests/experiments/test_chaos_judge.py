"""The invariants of chaos: a good timeline violates none; spoil one fact, and one does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.chaos.chaos_actions import Action, Do
from experiments.chaos.chaos_facts import (
    Begun,
    Changed,
    Changing,
    Closed,
    Ended,
    Fact,
    Fault,
    Look,
    Memory,
    NodeSocket,
    Opened,
    Operation,
    TimelineWriter,
    WrongEcho,
    fact_of_socket_event,
    read_timeline,
)
from experiments.chaos.chaos_judge import ChaosJudge, Terms, judge_timeline
from experiments.chaos.program_health import GROWTH_KIB, MOST_KIB, RESTART_S, WARM_UP_S
from experiments.chaos.violation import (
    FAULT,
    HALF_OPEN,
    INVARIANTS,
    LOST_WRITE,
    MEMORY,
    NOT_RESTARTED,
    UNMOVED_RESET,
    WRONG_ECHO,
)
from experiments.record.socket_events import SocketEvent
from tests.experiments.chaos_stories import (
    BALANCER,
    BOUND_S,
    DRAINED,
    LATER,
    MOVED,
    SETTLED_S,
    SLACK_S,
    START,
    STAYS,
    Story,
    after,
    during,
    lasting,
    owner_in,
    vanishing,
)

#: Just inside the bound, and beyond it.
IN_TIME_S = SETTLED_S + BOUND_S + SLACK_S - 0.3
TOO_LATE_S = SETTLED_S + BOUND_S + SLACK_S + 1.0


def judged(story: Story, bound_s: float = BOUND_S) -> ChaosJudge:
    judge = ChaosJudge(Terms(START, BALANCER, bound_s, SLACK_S))
    for fact in story.facts():
        judge.feed(fact)
    return judge


def test_a_good_timeline_violates_nothing() -> None:
    assert Story().violations() == []
    assert Story(old_until_s=IN_TIME_S).violations() == []


def test_its_figures() -> None:
    judge = judged(Story(old_until_s=IN_TIME_S))
    assert (judge.resets.opened, judge.resets.moved, judge.resets.resets) == (1, 1, 1)
    assert (judge.half_open.seen, judge.half_open.unasked) == (1, 0)
    # Seen half open first when its client was reset, until the last look before its end.
    assert judge.half_open.worst_s == pytest.approx(IN_TIME_S - 5.4, abs=0.3)
    assert DRAINED in judge.half_open.worst


# ------------------------------------------------------------------- half open


def test_half_open_beyond_the_bound() -> None:
    assert Story(old_until_s=TOO_LATE_S).violations() == [HALF_OPEN]


def test_without_healing_no_bound_is_promised() -> None:
    assert Story(old_until_s=TOO_LATE_S).violations(bound_s=None) == []


@pytest.mark.parametrize(
    "program",
    [
        "healer",
        f"server {DRAINED}",
        f"guard {DRAINED}",
        "ovs-vswitchd c1",
        "tables fabric",
    ],
)
def test_the_clock_waits_for_what_the_node_needs(program: str) -> None:
    idle = during(5.0, 8.0, program)
    assert Story(old_until_s=TOO_LATE_S, idle=idle).violations() == []
    assert Story(old_until_s=TOO_LATE_S + 3.0, idle=idle).violations() == [HALF_OPEN]


@pytest.mark.parametrize("program", ["controller", "server c2n1", "ovs-vswitchd c2"])
def test_and_for_nothing_else(program: str) -> None:
    idle = during(5.0, 8.0, program)
    assert Story(old_until_s=TOO_LATE_S, idle=idle).violations() == [HALF_OPEN]


def test_the_clock_waits_until_the_node_can_be_reached() -> None:
    """The chassis is cut off with the event, and connected again at 10 s."""
    cut_off = after(("uplink-down", "c1"), start=LATER)
    more: list[Fact] = [Changing(9.8), Changed(10.0, LATER)]
    story = Story(old_until_s=10.0 + TOO_LATE_S - SETTLED_S, new=cut_off, more=more)
    assert story.violations() == [HALF_OPEN]
    story.old_until_s = 10.0 + IN_TIME_S - SETTLED_S
    assert story.violations() == []


def test_a_change_that_touches_it_starts_the_clock_again() -> None:
    """Its new owner changes, too."""
    touched = after(("drain-node", owner_in(LATER, MOVED) or ""), start=LATER)
    more: list[Fact] = [Changing(6.8), Changed(7.0, touched)]
    late = Story(old_until_s=7.0 + TOO_LATE_S - SETTLED_S, more=more)
    assert late.violations() == [HALF_OPEN]
    assert Story(old_until_s=7.0 + IN_TIME_S - SETTLED_S, more=more).violations() == []


def test_a_change_that_does_not_touch_it_starts_nothing() -> None:
    untouched = after(("add-node", "c2"), start=LATER)
    more: list[Fact] = [Changing(6.8), Changed(7.0, untouched)]
    assert Story(old_until_s=TOO_LATE_S, more=more).violations() == [HALF_OPEN]


def test_looks_that_were_late_add_to_the_slack() -> None:
    assert Story(old_until_s=TOO_LATE_S, late_s=0.1).violations() == []


def test_of_two_sockets_of_a_connection_the_older_is_half_open() -> None:
    """The client came back with the same port, to another node."""
    story = Story(old_until_s=TOO_LATE_S, reset_s=5.4)
    facts = [_with_new_life(fact) for fact in story.facts()]
    judge = ChaosJudge(Terms(START, BALANCER, BOUND_S, SLACK_S))
    found = {one.invariant for fact in facts for one in judge.feed(fact)}
    assert found == {HALF_OPEN}
    assert f"{DRAINED} holds" in judge.half_open.worst


def _with_new_life(fact: Fact) -> Fact:
    if not isinstance(fact, Look) or fact.t < 5.5:
        return fact
    return replace(
        fact,
        held=(*fact.held, NodeSocket("c1n1", MOVED, 3)),
        of_clients=fact.of_clients | {MOVED},
    )


def test_a_vanished_client_is_not_asked_after() -> None:
    story = Story(vanish_s=9.0, more=[*vanishing(8.9, 12.0)])
    assert story.violations() == []
    assert judged(story).half_open.seen == 2


def test_but_a_client_that_says_nothing_without_a_reason_is_noticed() -> None:
    assert Story(vanish_s=9.0).violations() == [HALF_OPEN]


def test_after_the_next_change_a_vanished_client_is_asked_after() -> None:
    moves_it = after(("drain-node", "c2n1"), start=LATER)
    more: list[Fact] = [*vanishing(8.9, 12.0), Changing(12.8), Changed(13.0, moves_it)]
    assert Story(vanish_s=9.0, more=more).violations() == [HALF_OPEN]


def test_a_change_before_it_vanished_is_none_since() -> None:
    """Its bucket moved and came back, and it was heard after that."""
    away = after(("drain-node", "c2n1"), start=LATER)
    more: list[Fact] = [*vanishing(8.9, 12.0), Changing(7.0), Changed(7.1, away)]
    more += [Changing(7.2), Changed(7.3, LATER)]
    assert Story(vanish_s=9.0, more=more).violations() == []


@pytest.mark.parametrize("node, found", [("c2n1", []), ("c2n2", [HALF_OPEN])])
def test_a_word_that_was_lost_at_its_node_is_no_violation(
    node: str, found: list[str]
) -> None:
    losing = lasting(Action(8, Do.LOSE, node, share=0.5), 8.0, 12.0)
    assert Story(vanish_s=9.0, more=[*losing]).violations() == found


# -------------------------------------------------------------- unmoved resets


def test_an_unmoved_connection_is_reset() -> None:
    assert Story(stays_reset_s=7.0).violations() == [UNMOVED_RESET]


def test_without_its_event_the_moved_one_has_not_moved() -> None:
    assert Story(has_event=False).violations() == [UNMOVED_RESET]


def test_before_its_event_too() -> None:
    assert Story(reset_s=4.0, old_until_s=4.1).violations() == [UNMOVED_RESET]


def test_while_the_event_is_under_way_both_owners_are_right() -> None:
    assert Story(reset_s=5.1).violations() == []


def test_a_connection_that_follows_from_the_same_port_is_another() -> None:
    """It opens before the end of the first is judged."""
    facts: list[Fact] = [Opened(1.0, MOVED), Changing(5.0)]
    facts += [Closed(5.1, MOVED, reset=True), Changed(5.2, LATER)]
    facts += [Opened(5.4, MOVED), Look(5.5, (), frozenset())]
    assert judge_timeline(Terms(START, BALANCER, BOUND_S), facts) == []


@pytest.mark.parametrize(
    "target, found", [("server c2n1", []), ("server c2n2", [UNMOVED_RESET])]
)
def test_its_own_servers_end_excuses_a_reset(target: str, found: list[str]) -> None:
    kill = Begun(6.0, Action(6.0, Do.KILL, target))
    assert Story(stays_reset_s=7.0, more=[kill]).violations() == found
    ended = during(6.0, 6.2, target)
    assert Story(stays_reset_s=7.0, ended=ended).violations() == found


def test_a_server_that_ended_before_excuses_nothing() -> None:
    kill = Begun(0.5, Action(0.5, Do.KILL, "server c2n1"))
    assert Story(stays_reset_s=7.0, more=[kill]).violations() == [UNMOVED_RESET]


# ------------------------------------------------------------ programs, memory


def test_a_program_that_is_not_restarted() -> None:
    lasting_s = RESTART_S + 0.5
    ended = during(1.0, 1.0 + lasting_s, "controller")
    assert Story(has_event=False, reset_s=math.inf, ended=ended).violations() == [
        NOT_RESTARTED
    ]
    ended = during(1.0, 1.0 + RESTART_S - 1, "controller")
    assert Story(has_event=False, reset_s=math.inf, ended=ended).violations() == []


@pytest.mark.parametrize(
    "readings, found",
    [
        ([(0, 10 << 10), (WARM_UP_S + 1, 10 << 10)], []),
        ([(0, MOST_KIB + 1)], [MEMORY]),
        ([(0, 1000), (WARM_UP_S + 1, 1000 + GROWTH_KIB)], []),
        ([(0, 1000), (WARM_UP_S + 1, 1001 + GROWTH_KIB)], [MEMORY]),
    ],
)
def test_memory_is_bounded(readings: list[tuple[float, int]], found: list[str]) -> None:
    more: list[Fact] = [Memory(t, {"healer": kib}) for t, kib in readings]
    assert Story(more=more).violations() == found


# ----------------------------------------------------------------------- others


@pytest.mark.parametrize(
    "fact, found",
    [
        (Fault(3.0, "the supervisor: OSError"), FAULT),
        (WrongEcho(3.0, "h1", "{}"), WRONG_ECHO),
        (Operation(3.0, "r", 1, 7), LOST_WRITE),
    ],
)
def test_other_facts_that_must_not_be(fact: Fact, found: str) -> None:
    assert Story(more=[fact]).violations() == [found]
    assert found in INVARIANTS


def test_a_timeline_is_read_back(tmp_path: Path) -> None:
    more: list[Fact] = [
        *vanishing(8.9, 12.0),
        Ended(13.0, Action(13.0, Do.KILL, "healer"), "does not run"),
        Memory(14.0, {"healer": 1000}),
        Fault(15.0, "x"),
    ]
    facts = Story(more=more, idle=during(3, 4, "healer")).facts()
    with (tmp_path / "timeline.jsonl").open("w", encoding="utf-8") as file:
        writer = TimelineWriter(file)
        for fact in facts:
            writer.write(fact)
    assert list(read_timeline(tmp_path / "timeline.jsonl")) == facts


def test_only_a_reset_of_an_established_connection_counts() -> None:
    """A refused connection ends by a reset as well."""
    ends = (MOVED.src, MOVED.sport), (MOVED.dst, MOVED.dport)

    def facts(*steps: str) -> list[Fact]:
        state: tuple[set, set] = set(), set()  # type: ignore[type-arg]
        found = []
        for t, step in enumerate(steps):
            kind = step if step == "reset-received" else "state"
            event = SocketEvent(t * 10**9, kind, 1, *ends, "", step, "h1")
            found.append(fact_of_socket_event(event, *state))
        return [fact for fact in found if fact]

    begin = "SYN_SENT", "ESTABLISHED"
    reset, closed = facts(*begin, "reset-received", "CLOSE")[-1], facts(*begin, "CLOSE")
    assert vars(reset)["reset"]
    assert not vars(closed[-1])["reset"]
    assert len(facts("SYN_SENT", "reset-received", "CLOSE")) == 1
    # Each life is one of its own.
    twice = facts(*begin, "reset-received", "CLOSE", *begin, "CLOSE")
    assert [vars(one).get("reset") for one in twice] == [None, True, None, False]


def test_the_story_is_what_it_says() -> None:
    assert MOVED != STAYS
    assert Story().new is LATER
