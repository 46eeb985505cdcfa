"""The decision table against the packet table, and each of its rules against need."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from nodes.guard import verdict
from nodes.guard.segment import Flags
from nodes.guard.verdict import (
    INGRESS,
    Action,
    Kind,
    Knowledge,
    Known,
    Mode,
    Numbers,
    Verdict,
    judge_arriving,
    judge_leaving,
    kind_of,
)
from tests.nodes.packet_states import KNOWN, Connection, State
from tests.nodes.packet_table import ROWS, SUPERPACKETS, Row, refusal
from topologies.domain.connection import FourTuple

_TUPLE = FourTuple("10.1.0.7", 40000, "10.0.0.1", 10809)
#: Both directions wrap around zero within a few octets.
_WRAPPING = Connection(_TUPLE, 2**32 - 900, 100, 2**32 - 3)


def _connection(state: State) -> Connection:
    if state is State.UNACKNOWLEDGED:
        return _WRAPPING
    return replace(_WRAPPING, snd_una=_WRAPPING.snd_nxt)


def _knowledge(row: Row, connection: Connection) -> Knowledge:
    known = KNOWN[row.state]
    if known is not Known.CONNECTION:
        return Knowledge(known)
    numbers = Numbers(connection.snd_una, connection.snd_nxt, connection.rcv_nxt)
    return Knowledge(known, numbers)


@pytest.mark.parametrize("row", [*ROWS, *SUPERPACKETS], ids=lambda row: row.name)
def test_row(row: Row) -> None:
    connection = _connection(row.state)
    packet = row.packet(connection)
    got = judge_arriving(packet, _knowledge(row, connection), row.mode)
    assert (got.action, got.counts) == (row.action, row.counts)
    if row.out:
        assert got.segment == row.out(packet)
    elif row.action is Action.FREE:
        exact = replace(packet, seq=connection.rcv_nxt, ack=0, flags=Flags.RST)
        assert got.segment == exact
    else:
        assert got.segment is None


def test_every_segment_has_a_verdict() -> None:
    flags = [Flags(bits) for bits in range(64)]
    knowledge = [Knowledge(known) for known in Known]
    for bits, knows, mode, marked in itertools.product(
        flags, knowledge, Mode, (True, False)
    ):
        packet = replace(_WRAPPING.segment(bits), marked=marked)
        assert isinstance(judge_arriving(packet, knows, mode), Verdict)


def test_every_rule_is_needed_by_some_row(monkeypatch: pytest.MonkeyPatch) -> None:
    unneeded = []
    for i, rule in enumerate(INGRESS):
        monkeypatch.setattr(verdict, "INGRESS", INGRESS[:i] + INGRESS[i + 1 :])
        if _all_rows_hold():
            unneeded.append(rule)
    # What a guard knows of a connection's numbers is no matter of packets; those of one
    # that is still opening the kernel shows to none that asks it. ANSWERED and HELD
    # need several packets (test_guard_stories.py).
    assert unneeded == [
        rule
        for rule in INGRESS
        if rule.fit is verdict.Fit.UNSURE
        or rule.known in (Known.ANSWERED, Known.HELD)
        or (rule.fit, rule.known) == (verdict.Fit.MISFITS, Known.EMBRYONIC)
    ]


def _all_rows_hold() -> bool:
    try:
        for row in ROWS:
            test_row(row)
    except AssertionError:
        return False
    return True


def test_unknown_numbers_are_asked_for_outside_the_window() -> None:
    copy = _WRAPPING.copy()
    got = judge_arriving(copy, Knowledge(Known.CONNECTION), Mode.ANSWER)
    assert got.action is Action.PROBE
    assert got.segment
    assert kind_of(got.segment) is Kind.ACK
    assert got.segment.length == 1
    assert (got.segment.seq - _WRAPPING.rcv_nxt) % 2**32 == 3 << 30


def test_one_stray_of_many_is_answered() -> None:
    stray, knows = _WRAPPING.segment(Flags.ACK), Knowledge(Known.ANSWERED)
    quiet = Verdict(Action.DROP, None, ("strays",))
    assert judge_arriving(stray, knows, Mode.ANSWER) == quiet
    assert judge_arriving(stray, knows, Mode.PASS_ON).action is Action.PASS_ON
    passed_on = replace(stray, passed_on=True)
    assert judge_arriving(passed_on, knows, Mode.PASS_ON) == quiet


def test_a_late_copy_spares_the_next_connection_while_it_opens() -> None:
    opening = Numbers(_WRAPPING.snd_nxt, _WRAPPING.snd_nxt + 1, _WRAPPING.rcv_nxt)
    knows = Knowledge(Known.EMBRYONIC, opening)
    late, fitting = _WRAPPING.copy(seq=-5000), _WRAPPING.copy()
    assert judge_arriving(late, knows, Mode.ANSWER).action is Action.DROP
    assert judge_arriving(fitting, knows, Mode.ANSWER).action is Action.FREE


@pytest.mark.parametrize("known", Known)
def test_bare_reset_of_the_kernel_leaves_as_an_abort(known: Known) -> None:
    reset = _WRAPPING.segment(Flags.RST)
    got = judge_leaving(reset, known)
    assert got.action is Action.AMEND
    assert got.segment == replace(reset, flags=Flags.RST | Flags.ACK)


def test_connection_that_survived_its_reset_is_reset_where_it_is_now() -> None:
    sent = replace(_WRAPPING.segment(Flags.ACK), seq=77, ack=2**32 - 1)
    got = judge_leaving(sent, Known.FREED)
    assert got.action is Action.FREE
    assert got.segment
    assert (got.segment.seq, got.segment.flags) == (2**32 - 1, Flags.RST)
    assert (got.segment.src, got.segment.dport) == (sent.dst, sent.sport)


@pytest.mark.parametrize("known", [k for k in Known if k is not Known.FREED])
@pytest.mark.parametrize("flags", [Flags.ACK, Flags.SYN | Flags.ACK, Flags.RST | 16])
def test_other_segments_leave_as_they_are(known: Known, flags: Flags) -> None:
    assert judge_leaving(_WRAPPING.segment(flags), known) == Verdict(Action.PASS)


@pytest.mark.parametrize("mode", [Mode.ANSWER, Mode.PASS_ON])
def test_a_segment_between_close_and_reset_is_refused(mode: Mode) -> None:
    late = _WRAPPING.segment(Flags.ACK)
    got = judge_arriving(late, Knowledge(Known.HELD), mode)
    assert got == Verdict(Action.ANSWER, refusal(late))


def test_a_segment_between_close_and_reset_gets_no_answer_from_a_silent_node() -> None:
    late = _WRAPPING.segment(Flags.ACK)
    got = judge_arriving(late, Knowledge(Known.HELD), Mode.SILENT)
    assert got == Verdict(Action.DROP)
