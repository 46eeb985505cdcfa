"""How long one connection kept its client waiting, on segments written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.dialogue import Dialogue, Wait

ISN, SERVER_ISN = 1000, 5000
WRAPS = 2**32


@dataclass
class Talk:
    """A client and its server: their segments, in the order of time."""

    isn: int = ISN
    server_isn: int = SERVER_ISN
    dialogue: Dialogue = field(init=False)

    def __post_init__(self) -> None:
        self.dialogue = Dialogue(0, self.isn)
        self.dialogue.syn_ack(self.server_isn)

    def ask(self, at: int, first: int, length: int, **more: Any) -> None:
        """Bytes of the client, the first one counted from 0."""
        seq = (self.isn + 1 + first) % WRAPS
        self.dialogue.client_segment(at, seq, length, **more)

    def answer(self, at: int, first: int, length: int, ack: int, **more: Any) -> None:
        """Bytes of the server; ``ack``: so many of the client's have come to it."""
        seq = (self.server_isn + 1 + first) % WRAPS
        acked = (self.isn + 1 + ack) % WRAPS
        self.dialogue.server_segment(at, seq, acked, length, **more)

    def waits(self, until: int = 1000, *, ended: bool = False) -> list[Wait]:
        return self.dialogue.waits(until, ended)


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_request_waits_for_its_answer(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(13, 0, 16, 16)
    talk.ask(50, 16, 16)
    talk.answer(59, 16, 16, 32)
    assert talk.waits() == [Wait(10, 13), Wait(50, 59)]


def test_an_idle_connection_does_not_wait(talk: Talk) -> None:
    assert talk.waits() == []
    talk.ask(10, 0, 16)
    talk.answer(13, 0, 16, 16)
    assert talk.waits(10**12) == [Wait(10, 13)]


def test_an_unfinished_wait_counts_up_to_the_end_of_the_observation(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    assert talk.waits(700) == [Wait(10, 700, over=False)]
    assert talk.waits(700, ended=True) == [Wait(10, 700, over=True)]


def test_a_retransmission_is_the_same_request(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    for again in (210, 630):
        talk.ask(again, 0, 16)
    talk.answer(640, 0, 16, 16)
    talk.ask(641, 0, 16)  # it crossed the answer: nothing new is asked
    assert talk.waits() == [Wait(10, 640)]


def test_a_retransmitted_answer_does_not_answer_the_next_request(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(13, 0, 16, 16)
    talk.ask(20, 16, 16)
    talk.answer(22, 0, 16, 32)
    talk.answer(90, 16, 16, 32)
    assert talk.waits() == [Wait(10, 13), Wait(20, 90)]


def test_a_request_that_the_answer_does_not_acknowledge_waits_on(talk: Talk) -> None:
    """Two requests in flight, the second is lost on its way and sent again."""
    talk.ask(10, 0, 16)
    talk.ask(11, 16, 16)
    talk.answer(15, 0, 16, 16)
    talk.ask(211, 16, 16)
    talk.answer(216, 16, 16, 32)
    assert talk.waits() == [Wait(10, 15), Wait(11, 216)]


def test_of_pipelined_requests_the_first_one_counts(talk: Talk) -> None:
    for number in range(4):
        talk.ask(10 + number, 16 * number, 16)
    talk.answer(20, 0, 16, 64)
    talk.ask(21, 64, 16)
    talk.answer(30, 16, 16, 80)
    assert talk.waits() == [Wait(10, 20), Wait(21, 30)]


def test_a_large_request_waits_from_its_first_segment(talk: Talk) -> None:
    for number in range(10):
        talk.ask(10 + 50 * number, 1000 * number, 1000)
    talk.answer(470, 0, 16, 10_000)
    assert talk.waits() == [Wait(10, 470)]


def test_an_answer_that_stops_in_its_middle_is_waited_for(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(13, 0, 1000, 16, pushed=False)
    talk.answer(14, 1000, 1000, 16, pushed=False)
    talk.answer(314, 2000, 500, 16)
    assert talk.waits() == [Wait(14, 314)]


def test_a_continuous_answer_is_timed_by_its_first_segment(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    for number in range(3):
        talk.answer(60 + number, 1000 * number, 1000, 16, pushed=number == 2)
    assert talk.waits() == [Wait(10, 60)]


def test_a_gap_keeps_the_client_waiting_until_it_is_filled(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(13, 0, 1000, 16)
    talk.answer(15, 2000, 1000, 16)
    assert talk.waits(100)[-1] == Wait(15, 100, over=False)
    talk.answer(215, 1000, 1000, 16)
    assert talk.waits() == [Wait(15, 215)]


def test_out_of_order_data_are_no_answer_before_the_gap_is_filled(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(13, 16, 16, 16)
    talk.answer(400, 0, 16, 16)
    assert talk.waits() == [Wait(10, 400)]


def test_unsolicited_data_neither_begin_nor_end_a_wait(talk: Talk) -> None:
    """A NOP-In of an iSCSI target (RFC 7143, 11.19) crosses a request."""
    talk.answer(5, 0, 48, 0)
    talk.ask(10, 0, 48)
    talk.answer(11, 48, 48, 0)
    talk.answer(90, 96, 48, 48)
    assert talk.waits() == [Wait(10, 90)]


def test_a_half_closed_client_waits_for_each_line(talk: Talk) -> None:
    talk.ask(10, 0, 16, fin=True)
    talk.answer(12, 0, 16, 17)
    talk.answer(32, 16, 16, 17)
    talk.answer(932, 32, 16, 17)
    assert talk.waits(950) == [
        Wait(10, 12),
        Wait(12, 32),
        Wait(32, 932),
        Wait(932, 950, over=False),
    ]


def test_an_orderly_close_ends_the_wait(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(12, 0, 16, 16)
    talk.ask(100, 16, 0, fin=True)
    talk.answer(140, 16, 0, 17, fin=True)
    assert talk.waits() == [Wait(10, 12)]
    assert talk.waits(ended=True) == [Wait(10, 12)]


def test_a_close_by_the_server_is_an_answer(talk: Talk) -> None:
    talk.ask(10, 0, 16)
    talk.answer(45, 0, 0, 16, pushed=False, fin=True)
    assert talk.waits() == [Wait(10, 45)]


def test_without_its_handshake_it_begins_with_the_first_answer() -> None:
    dialogue = Dialogue(0, ISN)
    dialogue.client_segment(10, ISN + 1, 16)
    dialogue.server_segment(13, 77, ISN + 17, 16)
    assert dialogue.waits(99, False) == [Wait(10, 13)]


#: One exchange: pause before it, bytes of the request, until the answer, its bytes.
Exchange = tuple[int, int, int, int]
EXCHANGES = st.lists(
    st.tuples(
        st.integers(1, 90), st.integers(1, 9), st.integers(1, 900), st.integers(1, 9)
    ),
    min_size=1,
    max_size=12,
)


def waits_of(exchanges: Sequence[Exchange], isn: int, server_isn: int) -> list[Wait]:
    """The waits of exchanges one after the other, each in two segments."""
    talk, now, asked, answered = Talk(isn, server_isn), 0, 0, 0
    for pause, request, until, answer in exchanges:
        now += pause
        talk.ask(now, asked, request)
        asked, now = asked + request, now + until
        talk.answer(now, answered, answer, asked)
        answered += answer
    return talk.waits()


def expected(exchanges: Sequence[Exchange]) -> Iterator[Wait]:
    now = 0
    for pause, _, until, _ in exchanges:
        yield Wait(now + pause, now + pause + until)
        now += pause + until


@given(EXCHANGES, st.integers(0, WRAPS - 1), st.integers(0, WRAPS - 1))
def test_sequence_numbers_may_wrap(
    exchanges: list[Exchange], isn: int, server_isn: int
) -> None:
    assert waits_of(exchanges, isn, server_isn) == list(expected(exchanges))


@given(EXCHANGES, st.data())
def test_pieces_and_repetitions_never_shorten_a_wait(
    exchanges: list[Exchange], data: st.DataObject
) -> None:
    """Requests and answers in pieces, pieces sent again, and old answers come late."""
    talk, now, asked, answered = Talk(), 0, 0, 0
    for pause, request, until, answer in exchanges:
        now += pause
        first = data.draw(st.integers(0, request))
        talk.ask(now, asked, first or request)
        end = now + until
        for at in sorted(data.draw(st.lists(st.integers(now, end), max_size=3))):
            talk.ask(at, asked, first or request)
            if answered:
                talk.answer(at, 0, answered, asked)
        talk.ask(end, asked, request)
        asked, now = asked + request, end
        whole = data.draw(st.integers(1, answer))
        talk.answer(now, answered, whole, asked, pushed=whole == answer)
        now += data.draw(st.integers(0, 50))
        talk.answer(now, answered, answer, asked)
        answered += answer
    lengths = [wait.length_ns for wait in talk.waits()]
    least = [until for _, _, until, _ in exchanges]
    assert len(lengths) == len(least)
    assert all(a >= b for a, b in zip(lengths, least, strict=True))
