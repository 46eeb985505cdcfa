"""Whose waits count, and as before or after: on outcomes and dialogues made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.analysis.dialogue import Dialogue
from experiments.analysis.outcomes import Outcome
from experiments.analysis.statistics import Percentiles
from experiments.analysis.waiting import Waiting, waiting_unmoved
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4

MS = 1_000_000
STEADY, EVENT, END = 100 * MS, 500 * MS, 900 * MS
CONNECTION = FourTuple("10.1.0.1", 20001, VIP4, 10809)
OUTCOME = Outcome(CONNECTION, 12 * MS, "c1n1", END)
NOTHING = Percentiles()


def dialogue(*exchanges: tuple[int, int | None], began: int = 10) -> Dialogue:
    """Requests and answers at those ms; None: no answer came."""
    made = Dialogue(began * MS, 0)
    made.syn_ack(0)
    for number, (asked, answered) in enumerate(exchanges):
        made.client_segment(asked * MS, 1 + number, 1)
        if answered is not None:
            made.server_segment(answered * MS, 1 + number, 2 + number, 1)
    return made


def waiting(
    *lives: Dialogue, outcome: Outcome = OUTCOME, events: tuple[int, ...] = (500,)
) -> Waiting:
    requested = [event * MS for event in events]
    return waiting_unmoved([outcome], {CONNECTION: lives}, requested, STEADY)


def alone(ms: float) -> Percentiles:
    return Percentiles(ms, ms, ms)


def test_before_and_after() -> None:
    found = waiting(dialogue((200, 203), (600, 650)))
    assert found == Waiting(alone(3.0), alone(50.0), 0)


def test_a_wait_across_the_event_counts_as_after() -> None:
    assert waiting(dialogue((490, 520))) == Waiting(NOTHING, alone(30.0), 0)


def test_before_the_clients_are_steady_nothing_counts() -> None:
    assert waiting(dialogue((20, 95), (90, 110))) == Waiting(NOTHING, NOTHING, 0)


def test_an_unfinished_wait_counts_up_to_the_end() -> None:
    assert waiting(dialogue((200, None))) == Waiting(NOTHING, alone(700.0), 1)


def test_an_ended_socket_does_not_wait() -> None:
    gone = replace(OUTCOME, ended_ns=650 * MS)
    found = waiting(dialogue((600, None)), outcome=gone)
    assert found == Waiting(NOTHING, alone(50.0), 0)


def test_a_connection_that_moved_does_not_count() -> None:
    moved = replace(OUTCOME, moved_ns=EVENT, moved_to="c1n2")
    found = waiting(dialogue((200, 203), (600, None)), outcome=moved)
    assert found == Waiting(NOTHING, NOTHING, 0)


@pytest.mark.parametrize(
    "outcome",
    [replace(OUTCOME, opened_ns=510 * MS), replace(OUTCOME, ended_ns=400 * MS)],
    ids=["opened after it", "ended before it"],
)
def test_a_connection_without_an_event_does_not_count(outcome: Outcome) -> None:
    found = waiting(dialogue((200, 203), began=10), outcome=outcome)
    assert found == Waiting(NOTHING, NOTHING, 0)


def test_a_connection_opened_between_two_events_counts_for_the_second() -> None:
    late = replace(OUTCOME, opened_ns=520 * MS)
    found = waiting(dialogue((600, 604), began=519), outcome=late, events=(500, 700))
    assert found == Waiting(NOTHING, alone(4.0), 0)


def test_each_connection_of_the_same_ports_has_its_own_dialogue() -> None:
    first = dialogue((200, 203), (600, 605), began=10)
    second = dialogue((700, 790), began=650)
    outcome = replace(OUTCOME, ended_ns=640 * MS)
    assert waiting(first, second, outcome=outcome) == Waiting(alone(3.0), alone(5.0), 0)
    again = replace(OUTCOME, opened_ns=651 * MS)
    found = waiting(first, second, outcome=again, events=(500, 660))
    assert found == Waiting(NOTHING, alone(90.0), 0)


def test_a_connection_without_a_captured_handshake_is_silent() -> None:
    assert waiting(dialogue((600, 605), began=800)) == Waiting(NOTHING, NOTHING, 0)


def test_without_an_event_there_is_no_before_and_no_after() -> None:
    assert waiting(dialogue((200, 203)), events=()) == Waiting(NOTHING, NOTHING, 0)
